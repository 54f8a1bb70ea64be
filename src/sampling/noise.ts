/**
 * @file Seeded noise, bit for bit as `torch.randn(n, generator=torch.Generator().manual_seed(seed))` draws it on a CPU.
 *
 * One generator is one stream: the start latents and every noisy step of a picture come from the same generator, in order.
 */
import { assert } from '../base/errors.js';
import { toFloat16Bits } from '../base/half.js';
import { createWords, type NextWord, type Words } from './mt19937.js';
import { boxMuller16 } from './normal.js';

/** A stream of random numbers. Every call draws on from where the last one stopped. */
export interface Generator {
  /** `n` standard normals as float32: exactly torch's values. */
  readonly randn: (n: number) => Float32Array;
  /** `n` standard normals as float64: torch's values to 1e-14 (its vectorised log, sine and cosine differ in the last bits). */
  readonly randnFloat64: (n: number) => Float64Array;
  /** `n` standard normals rounded to float16 or bfloat16, as bits: torch 2.15's values (older releases drew others). */
  readonly randnHalf: (n: number, type: 'float16' | 'bfloat16') => Uint16Array;
}

/** What the draws share: uniforms, and single normals of which every second one is kept for the next call. */
interface Source extends Words {
  readonly normal: () => number;
}

/** 53-bit uniform in [0, 1): two words, the high one first. */
function uniform53(word: NextWord): number {
  const high = word() & 0x1fffff;
  return (high * 2 ** 32 + word()) * 2 ** -53;
}

function createSource(seed: number): Source {
  const words = createWords(seed);
  const { word } = words;
  let kept: number | undefined;
  const normal = (): number => {
    if (kept !== undefined) {
      const value = kept;
      kept = undefined;
      return value;
    }
    const theta = 2 * Math.PI * uniform53(word);
    const radius = Math.sqrt(-2 * Math.log1p(-uniform53(word)));
    kept = radius * Math.sin(theta);
    return radius * Math.cos(theta);
  };
  return { ...words, normal };
}

/** Draws of fewer than 16 numbers are made one by one, in double precision. */
const SHORT = 16;

/** An incomplete block of 16 is never used: the last 16 numbers are made from 16 new uniforms. */
function redrawLast16({ low24 }: Source, values: Float32Array): void {
  const n = values.length;
  low24(values, n - 16, n);
  boxMuller16(values, n - 16, n);
}

function randn(source: Source, n: number): Float32Array {
  if (n < SHORT) return Float32Array.from({ length: n }, source.normal);
  const values = new Float32Array(n);
  source.low24(values, 0, n);
  boxMuller16(values, 0, n - (n % 16));
  if (n % 16 !== 0) redrawLast16(source, values);
  return values;
}

/** Box–Muller of 16 uniforms in double precision; pairs as in `boxMuller16`. */
function boxMullerFloat64(values: Float64Array, begin: number): void {
  for (let j = begin; j < begin + 8; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - (values[j] ?? 0)));
    const theta = 2 * Math.PI * (values[j + 8] ?? 0);
    values[j] = radius * Math.cos(theta);
    values[j + 8] = radius * Math.sin(theta);
  }
}

function randnFloat64({ word, normal }: Source, n: number): Float64Array {
  if (n < SHORT) return Float64Array.from({ length: n }, normal);
  const values = Float64Array.from({ length: n }, () => uniform53(word));
  for (let block = 0; block + 16 <= n; block += 16) boxMullerFloat64(values, block);
  if (n % 16 !== 0) {
    for (let i = n - 16; i < n; i++) values[i] = uniform53(word);
    boxMullerFloat64(values, n - 16);
  }
  return values;
}

/** float32 → bfloat16 bits, round to nearest even. Finite values only. */
function toBfloat16Bits(values: Float32Array): Uint16Array {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  return Uint16Array.from(words, (w) => (w + 0x7fff + ((w >>> 16) & 1)) >>> 16);
}

function randnHalf(source: Source, n: number, type: 'float16' | 'bfloat16'): Uint16Array {
  const values = new Float32Array(n);
  if (n < SHORT) values.set(Float32Array.from({ length: n }, source.normal));
  else {
    const whole = n - (n % 16);
    source.low24(values, 0, whole);
    boxMuller16(values, 0, whole);
    // Unlike float32, no uniforms are drawn for the incomplete block before the last 16 are drawn again.
    if (whole !== n) redrawLast16(source, values);
  }
  return type === 'bfloat16' ? toBfloat16Bits(values) : Uint16Array.from(values, toFloat16Bits);
}

/**
 * A generator as `torch.Generator().manual_seed(seed)` on a CPU: the Mersenne Twister with the **low 32 bits** of the seed.
 *
 * @param seed 0…2^63−1; 5 and 2^32+5 give the same numbers
 * @example createGenerator(42n).randn(4 * 64 * 64) // the start noise of a 512×512 picture, shape [4, 64, 64]
 */
export function createGenerator(seed: bigint): Generator {
  const source = createSource(Number(BigInt.asUintN(32, seed)));
  const counted = (n: number): number => {
    assert(Number.isInteger(n) && n >= 0, `a generator was asked for ${n} numbers`);
    return n;
  };
  return {
    randn: (n) => randn(source, counted(n)),
    randnFloat64: (n) => randnFloat64(source, counted(n)),
    randnHalf: (n, type) => randnHalf(source, counted(n), type),
  };
}
