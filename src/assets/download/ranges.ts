/** @file Sets of bytes of a file, as sorted ranges that do not touch. Pure. */

/** Bytes `start` (inclusive) to `end` (exclusive). */
export type Range = readonly [start: number, end: number];

/** `ranges` and the bytes of `added`. */
export function addRange(ranges: readonly Range[], [start, end]: Range): readonly Range[] {
  if (start >= end) return ranges;
  const before = ranges.filter(([, last]) => last < start);
  const after = ranges.filter(([first]) => first > end);
  const touched = ranges.slice(before.length, ranges.length - after.length);
  const first = Math.min(start, touched[0]?.[0] ?? start);
  const last = Math.max(end, touched[touched.length - 1]?.[1] ?? end);
  return [...before, [first, last], ...after];
}

/** What of a file of `size` bytes is not in `ranges`. */
export function missingRanges(ranges: readonly Range[], size: number): readonly Range[] {
  const missing: Range[] = [];
  let at = 0;
  for (const [start, end] of [...ranges, [size, size] as const]) {
    if (start > at) missing.push([at, start]);
    at = end;
  }
  return missing;
}

/** The same bytes, cut at the multiples of `chunkBytes`. */
export function cutRanges(ranges: readonly Range[], chunkBytes: number): readonly Range[] {
  return ranges.flatMap(([start, end]) => {
    const cut: Range[] = [];
    for (let at = start; at < end;) {
      const next = Math.min(end, (Math.floor(at / chunkBytes) + 1) * chunkBytes);
      cut.push([at, next]);
      at = next;
    }
    return cut;
  });
}

export function countBytes(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [start, end]) => sum + end - start, 0);
}

/** How far a file is there without a gap. */
export function firstGap(ranges: readonly Range[]): number {
  const [first] = ranges;
  return first?.[0] === 0 ? first[1] : 0;
}

/** Reads what JSON has: sorted ranges that do not touch, inside a file of `size` bytes; `undefined` for anything else. */
export function parseRanges(json: unknown, size: number): readonly Range[] | undefined {
  if (!Array.isArray(json)) return undefined;
  let last = -1;
  const ranges: Range[] = [];
  const entries: readonly unknown[] = json;
  for (const entry of entries) {
    const pair: readonly unknown[] = Array.isArray(entry) ? entry : [];
    const [start, end, ...rest] = pair;
    if (!isOffset(start) || !isOffset(end) || rest.length > 0) return undefined;
    if (start <= last || end <= start || end > size) return undefined;
    last = end;
    ranges.push([start, end]);
  }
  return ranges;
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
