/** @file A unigram language model of pieces (Kudo 2018, arXiv:1804.10959, §3.2): a word → the ids of its likeliest pieces. */

export interface UnigramModel {
  /** Log-probability of piece `id`; of two pieces with the same text the later counts. */
  readonly pieces: readonly (readonly [text: string, score: number])[];
  /** Id of what is in no piece. */
  readonly unk: number;
  /** Unknown characters become the pieces `<0x00>` to `<0xFF>` of their UTF-8 bytes, where all of these exist. */
  readonly byteFallback: boolean;
}

/** What an unknown character costs more than the unlikeliest piece (sentencepiece, `kUnkPenalty`). */
const UNKNOWN_PENALTY = 10;

/**
 * The segmentation of largest probability (Viterbi), of equals the first found; neighbouring unknown characters are one unknown piece. As
 * the tokenizers library's `Unigram::encode_optimized`. Time and memory are linear in the word's length.
 */
export function createUnigram({ pieces, unk, byteFallback }: UnigramModel): (word: string) => number[] {
  const trie = createTrie(pieces.map(([text]) => text));
  const scores = Float64Array.from(pieces, ([, score]) => score);
  const unknownScore = scores.reduce((low, score) => Math.min(low, score), Infinity) - UNKNOWN_PENALTY;
  const bytePieces = byteFallback ? byteIds(pieces) : undefined;

  return (word) => {
    const { ids, starts } = bestPath(word, { trie, scores, unk, unknownScore });
    const out: number[] = [];
    for (let end = word.length; end > 0;) {
      let start = starts[end] ?? 0;
      const id = ids[end] ?? unk;
      while (id === unk && start > 0 && ids[start] === unk) start = starts[start] ?? 0;
      const known = id === unk ? bytePieces?.(word.slice(start, end)) : undefined;
      out.push(...(known?.toReversed() ?? [id]));
      end = start;
    }
    return out.reverse();
  };
}

interface Lattice {
  readonly trie: Trie;
  readonly scores: Float64Array;
  readonly unk: number;
  readonly unknownScore: number;
}

/** For each end of a piece: the id of the last piece of the best path to there, and where it begins. */
function bestPath(
  word: string,
  { trie, scores, unk, unknownScore }: Lattice,
): { readonly ids: Int32Array; readonly starts: Int32Array } {
  const best = new Float64Array(word.length + 1);
  const ids = new Int32Array(word.length + 1);
  const starts = new Int32Array(word.length + 1).fill(-1);
  const offer = (start: number, end: number, id: number, score: number): void => {
    if (starts[end] !== -1 && score <= (best[end] ?? 0)) return;
    best[end] = score;
    ids[end] = id;
    starts[end] = start;
  };
  for (let start = 0; start < word.length;) {
    const next = start + ((word.codePointAt(start) ?? 0) > 0xffff ? 2 : 1);
    const sofar = best[start] ?? 0;
    let single = false;
    let node = trie.root;
    for (let end = start + 1; end <= word.length; end++) {
      const child = trie.next(node, word.charCodeAt(end - 1));
      if (child === undefined) break;
      node = child;
      const id = trie.idAt(node);
      if (id === undefined) continue;
      offer(start, end, id, sofar + (scores[id] ?? 0));
      single ||= end === next;
    }
    if (!single) offer(start, next, unk, sofar + unknownScore);
    start = next;
  }
  return { ids, starts };
}

/** Texts by their UTF-16 units. */
interface Trie {
  readonly root: number;
  next(node: number, unit: number): number | undefined;
  /** Of the text that ends here. */
  idAt(node: number): number | undefined;
}

function createTrie(texts: readonly string[]): Trie {
  const edges = new Map<number, number>();
  const ids = new Map<number, number>();
  let nodes = 1;
  const key = (node: number, unit: number): number => node * 0x10000 + unit;
  texts.forEach((text, id) => {
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      const edge = key(node, text.charCodeAt(i));
      const child = edges.get(edge) ?? nodes++;
      edges.set(edge, child);
      node = child;
    }
    ids.set(node, id);
  });
  return { root: 0, next: (node, unit) => edges.get(key(node, unit)), idAt: (node) => ids.get(node) };
}

/** Text → ids of its bytes; `undefined` where one has no piece. */
function byteIds(pieces: UnigramModel['pieces']): (text: string) => readonly number[] | undefined {
  const byText = new Map(pieces.map(([text], id) => [text, id] as const));
  return (text) => {
    const names = [...new TextEncoder().encode(text)].map(
      (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    );
    const ids = names.flatMap((name) => byText.get(name) ?? []);
    return ids.length === names.length ? ids : undefined;
  };
}
