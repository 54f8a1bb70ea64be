/**
 * @file How much of a matrix is lost in four bits: our block quantiser beside the best that round-to-nearest can do with one scale a block, on matrices
 * as wide as FLUX.1's, of values that are normal and of values with heavy tails.
 */
import { approximationError, packRows, unpackRows, type PackingFormat } from '../src/base/packed-matrix.js';

const COLUMNS = 3072;
const ROWS = 64;

/** Uniform in (0, 1), seeded: mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
}

/** Student's t with ν degrees of freedom: a normal over the root of a χ²/ν. */
function student(random: () => number, degrees: number): number {
  let chi = 0;
  for (let i = 0; i < degrees; i++) chi += normal(random) ** 2;
  return normal(random) / Math.sqrt(chi / degrees);
}

const MATRICES = {
  normal,
  'Student t, ν = 5': (random: () => number) => student(random, 5),
  'Student t, ν = 3': (random: () => number) => student(random, 3),
} as const;

const FORMATS: Readonly<Record<string, PackingFormat>> = {
  'int4, block 32': { bits: 4, block: 32, zeros: false },
  'int4, block 32, zero points': { bits: 4, block: 32, zeros: true },
  'int4, block 128': { bits: 4, block: 128, zeros: false },
  'int8, block 32': { bits: 8, block: 32, zeros: false },
};

/** Root of the mean square error over that of the matrix. */
export function int4Errors(): readonly string[] {
  const lines = [
    `error of a ${ROWS}×${COLUMNS} matrix            format                        ours    nearest, best scale   ratio`,
  ];
  for (const [name, draw] of Object.entries(MATRICES)) {
    const random = uniform(1);
    const values = Float32Array.from({ length: ROWS * COLUMNS }, () => draw(random));
    for (const [label, format] of Object.entries(FORMATS)) {
      const back = unpackRows(packRows(values, COLUMNS, format), COLUMNS, format);
      const ours = approximationError(values, back).relative;
      const best = format.zeros ? undefined : approximationError(values, nearest(values, format)).relative;
      const share = best === undefined ? ['–', '–'] : [percent(best), (ours / best).toFixed(2)];
      lines.push(
        `${name.padEnd(36)} ${label.padEnd(28)} ${percent(ours).padStart(7)} ${(share[0] ?? '').padStart(20)} ${(share[1] ?? '').padStart(7)}`,
      );
    }
  }
  return lines;
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}

/** Scales that are tried, as shares of the one that just reaches the largest value. */
const SHARES = Array.from({ length: 61 }, (_, i) => 0.4 + i / 75);

/** Each block with the scale, of either sign, whose squared error is the least. */
function nearest(values: Float32Array, { bits, block }: PackingFormat): Float32Array {
  const [low, high] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  const out = new Float32Array(values.length);
  for (let first = 0; first < values.length; first += block) {
    const part = values.subarray(first, first + block);
    const reach = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / -low;
    let [least, chosen] = [Infinity, 0];
    for (const scale of SHARES.flatMap((share) => [share * reach, -share * reach])) {
      let error = 0;
      for (const value of part) error += (round(value, scale, low, high) - value) ** 2;
      if (error < least) [least, chosen] = [error, scale];
    }
    part.forEach((value, i) => (out[first + i] = round(value, chosen, low, high)));
  }
  return out;
}

function round(value: number, scale: number, low: number, high: number): number {
  return scale === 0 ? 0 : Math.min(high, Math.max(low, Math.round(value / scale))) * scale;
}
