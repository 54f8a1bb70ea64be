/**
 * @file PNG row filters (PNG specification, third edition, §9 "Filtering"): each byte is stored as its difference from a
 * prediction made of its neighbours. Pure; imports base only.
 */
import { fail } from '../base/errors.js';

/** Predicts a byte from the ones to its left (a), above (b) and above left (c); the letters are the specification's. */
type Predict = (a: number, b: number, c: number) => number;

/** §9.4: whichever of a, b, c is nearest to a + b − c; ties go to a, then b. */
const paeth: Predict = (a, b, c) => {
  const estimate = a + b - c;
  const toA = Math.abs(estimate - a);
  const toB = Math.abs(estimate - b);
  const toC = Math.abs(estimate - c);
  if (toA <= toB && toA <= toC) return a;
  return toB <= toC ? b : c;
};

/** Indexed by the filter-type byte: None, Sub, Up, Average, Paeth. */
const PREDICTORS: readonly Predict[] = [() => 0, (a) => a, (_a, b) => b, (a, b) => (a + b) >> 1, paeth];

/**
 * Filters every row with whichever filter gives the smallest sum of absolute differences (§12.7 of the specification).
 * @param pixels `height·width·channels` bytes, row by row.
 * @returns `height·(1 + width·channels)` bytes: each row behind its filter-type byte.
 */
export function filterRows(
  pixels: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  channels: number,
): Uint8Array<ArrayBuffer> {
  const rowBytes = width * channels;
  const out = new Uint8Array(height * (1 + rowBytes));
  const candidate = new Uint8Array(rowBytes);
  let above: Uint8Array | Uint8ClampedArray = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const row = pixels.subarray(y * rowBytes, (y + 1) * rowBytes);
    const at = y * (1 + rowBytes);
    let best = Infinity;
    PREDICTORS.forEach((predict, type) => {
      const cost = filterRow(row, above, channels, predict, candidate);
      if (cost >= best) return;
      best = cost;
      out[at] = type;
      out.set(candidate, at + 1);
    });
    above = row;
  }
  return out;
}

/** Writes the differences into `out`; returns the sum of their absolute values as signed bytes. */
function filterRow(
  row: Uint8Array | Uint8ClampedArray,
  above: Uint8Array | Uint8ClampedArray,
  channels: number,
  predict: Predict,
  out: Uint8Array,
): number {
  let cost = 0;
  for (let i = 0; i < row.length; i++) {
    const a = i < channels ? 0 : (row[i - channels] ?? 0);
    const c = i < channels ? 0 : (above[i - channels] ?? 0);
    const difference = ((row[i] ?? 0) - predict(a, above[i] ?? 0, c)) & 255;
    out[i] = difference;
    cost += difference < 128 ? difference : 256 - difference;
  }
  return cost;
}

/**
 * The inverse of {@link filterRows}, for all five filter types, in place: pictures may take most of the memory.
 * @param filtered exactly `height·(1 + width·channels)` bytes; overwritten.
 * @returns the first `height·width·channels` bytes of it.
 * @throws `invalidImage` for a filter type above 4.
 */
export function unfilterRows(
  filtered: Uint8Array<ArrayBuffer>,
  width: number,
  height: number,
  channels: number,
): Uint8Array<ArrayBuffer> {
  const rowBytes = width * channels;
  let above = new Uint8Array(rowBytes);
  for (let y = 0; y < height; y++) {
    const from = y * (1 + rowBytes);
    const type = filtered[from] ?? 0;
    // each row moves towards the beginning, over bytes that were read
    const row = filtered
      .copyWithin(y * rowBytes, from + 1, from + 1 + rowBytes)
      .subarray(y * rowBytes, (y + 1) * rowBytes);
    if (type >= UNFILTERS.length) throw fail('invalidImage', `PNG row ${y}: filter type ${type}; expected 0 to 4.`);
    UNFILTERS[type]?.(row, above, channels);
    above = row;
  }
  return filtered.subarray(0, height * rowBytes);
}

type Unfilter = (row: Uint8Array, above: Uint8Array, channels: number) => void;

/** {@link PREDICTORS} once more, with their loops: a call for each byte takes half a minute for a large picture. */
const UNFILTERS: readonly Unfilter[] = [
  () => undefined,
  (row, _above, channels) => {
    for (let i = channels; i < row.length; i++) row[i] = at(row, i) + at(row, i - channels);
  },
  (row, above) => {
    for (let i = 0; i < row.length; i++) row[i] = at(row, i) + at(above, i);
  },
  (row, above, channels) => {
    for (let i = 0; i < channels; i++) row[i] = at(row, i) + (at(above, i) >> 1);
    for (let i = channels; i < row.length; i++) row[i] = at(row, i) + ((at(row, i - channels) + at(above, i)) >> 1);
  },
  (row, above, channels) => {
    for (let i = 0; i < channels; i++) row[i] = at(row, i) + at(above, i);
    for (let i = channels; i < row.length; i++) {
      row[i] = at(row, i) + paeth(at(row, i - channels), at(above, i), at(above, i - channels));
    }
  },
];

/** Inside its array by construction. */
function at(bytes: Uint8Array, i: number): number {
  return bytes[i] ?? 0;
}
