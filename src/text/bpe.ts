/** @file Byte-pair encoding of one word in time n·log n. Knows ids and the ranks of merges, no text. */

/** {@link pairKey} of two neighbouring ids → {@link mergeEntry}. */
export type Merges = ReadonlyMap<number, number>;

/** Ids and ranks are below this, so that a pair of ids, and a rank with a position, are exact numbers. */
export const ID_LIMIT = 2 ** 20;
const POSITION_LIMIT = 2 ** 32;

/** The pair `left`, `right` as a key of {@link Merges}. */
export function pairKey(left: number, right: number): number {
  return left * ID_LIMIT + right;
}

/** What a pair becomes, and how early: rank 0 merges first. */
export function mergeEntry(rank: number, id: number): number {
  return rank * ID_LIMIT + id;
}

/**
 * Merges the ids of one word: always the pair of lowest rank, the leftmost of equals, until no pair is left.
 * Sennrich et al. 2016 (arXiv:1508.07909), Algorithm 1, with a heap of candidates in place of its scans.
 */
export function mergePairs(word: readonly number[], merges: Merges): number[] {
  // a linked list over the symbols; a symbol merged into its left neighbour has id −1
  const ids = Int32Array.from(word);
  const next = ids.map((_, i) => i + 1);
  const previous = ids.map((_, i) => i - 1);
  const candidates: number[] = [];

  const mergeAt = (i: number): number | undefined => {
    const [left, right] = [ids[i], ids[next[i] ?? ids.length]];
    return left === undefined || right === undefined ? undefined : merges.get(pairKey(left, right));
  };
  const offer = (i: number): void => {
    const merge = mergeAt(i);
    if (merge !== undefined) push(candidates, Math.floor(merge / ID_LIMIT) * POSITION_LIMIT + i);
  };

  for (let i = 0; i < ids.length; i++) offer(i);
  for (let first = pop(candidates); first !== undefined; first = pop(candidates)) {
    const i = first % POSITION_LIMIT;
    const merge = mergeAt(i);
    // the pair may have changed since it was offered; a rank belongs to one pair only
    if (merge === undefined || Math.floor(merge / ID_LIMIT) !== Math.floor(first / POSITION_LIMIT)) continue;
    const right = next[i] ?? ids.length;
    const after = next[right] ?? ids.length;
    ids[i] = merge % ID_LIMIT;
    ids[right] = -1;
    next[i] = after;
    if (after < ids.length) previous[after] = i;
    offer(previous[i] ?? -1);
    offer(i);
  }
  return Array.from(ids).filter((id) => id >= 0);
}

/** Adds to a binary min-heap. */
function push(heap: number[], value: number): void {
  let i = heap.length;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const above = heap[parent] ?? -Infinity;
    if (above <= value) break;
    heap[i] = above;
    i = parent;
  }
  heap[i] = value;
}

/** Takes the smallest value off a binary min-heap. */
function pop(heap: number[]): number | undefined {
  const smallest = heap[0];
  const value = heap.pop();
  if (value === undefined || heap.length === 0) return value;
  let i = 0;
  for (;;) {
    const left = 2 * i + 1;
    const child = (heap[left + 1] ?? Infinity) < (heap[left] ?? Infinity) ? left + 1 : left;
    const below = heap[child] ?? Infinity;
    if (below >= value) break;
    heap[i] = below;
    i = child;
  }
  heap[i] = value;
  return smallest;
}
