/** @file float16 and bfloat16 ↔ float32, bit for bit (round to nearest even). Imports nothing. */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** bfloat16 bits → float32: the upper half of the float32 word. Exact. @param out as long as `bits` */
export function bfloat16ToFloat32(bits: Uint16Array, out: Float32Array = new Float32Array(bits.length)): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  const pairs = pairsOf(bits);
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i] ?? 0;
    words[2 * i] = pair << 16;
    words[2 * i + 1] = pair & 0xffff0000;
  }
  for (let i = 2 * pairs.length; i < bits.length; i++) words[i] = (bits[i] ?? 0) << 16;
  return out;
}

/** Two at a time, the first one low, where they lie like that in memory: up to twice as fast. None elsewhere. */
function pairsOf({ buffer, byteOffset, length }: Uint16Array): Uint32Array {
  return byteOffset % 4 === 0 ? new Uint32Array(buffer, byteOffset, length >> 1) : new Uint32Array(0);
}

function float16Table(): Float32Array {
  const values = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 0x1f;
    const fraction = h & 0x3ff;
    if (exponent === 0) values[h] = sign * fraction * 2 ** -24;
    else if (exponent === 31) values[h] = fraction === 0 ? sign * Infinity : NaN;
    else values[h] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
}

/** All 65,536 float16 values as float32 (256 KB, about a millisecond to make). */
const FLOAT16_VALUES = float16Table();
const FLOAT16_WORDS = new Uint32Array(FLOAT16_VALUES.buffer);

/** The value of one float16. */
export function float16Value(bits: number): number {
  return FLOAT16_VALUES[bits] ?? NaN;
}

/** float16 bits → float32. Exact. @param out as long as `bits` */
export function float16ToFloat32(bits: Uint16Array, out: Float32Array = new Float32Array(bits.length)): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  const pairs = pairsOf(bits);
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i] ?? 0;
    words[2 * i] = FLOAT16_WORDS[pair & 0xffff] ?? 0;
    words[2 * i + 1] = FLOAT16_WORDS[pair >>> 16] ?? 0;
  }
  for (let i = 2 * pairs.length; i < bits.length; i++) words[i] = FLOAT16_WORDS[bits[i] ?? 0] ?? 0;
  return out;
}

/** One float32 → float16 bits, round to nearest even; overflow → ±Infinity, NaN stays NaN. */
export function toFloat16Bits(value: number): number {
  f32[0] = value;
  const x = u32[0] ?? 0;
  const sign = (x >>> 16) & 0x8000;
  const exponent = (x >>> 23) & 0xff;
  const fraction = x & 0x7fffff;
  if (exponent === 255) return sign | 0x7c00 | (fraction ? 0x200 : 0);
  const e = exponent - 112;
  if (e >= 31) return sign | 0x7c00;
  if (e <= 0) {
    if (e < -10) return sign;
    const m = fraction | 0x800000;
    const shift = 14 - e;
    return sign | roundShift(m, shift);
  }
  return sign | ((e << 10) + roundShift(fraction, 13));
}

/** `m >> shift`, rounded to nearest, ties to even. */
function roundShift(m: number, shift: number): number {
  const kept = m >>> shift;
  const rest = m & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept;
}

/** float32 → float16 bits. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const word = words[i] ?? 0;
    const e = ((word >>> 23) & 0xff) - 112; // float16's exponent
    // Nearly all weights have one between; toFloat16Bits says the same of them, more slowly. A fraction that is rounded up to 1 raises the exponent.
    if (e > 0 && e < 31) out[i] = ((word >>> 16) & 0x8000) | ((e << 10) + roundedUpper(word & 0x7fffff));
    else out[i] = toFloat16Bits(values[i] ?? 0);
  }
  return out;
}

/** The upper 10 of 23 bits, rounded to nearest, ties to even. */
function roundedUpper(fraction: number): number {
  return (fraction + 0xfff + ((fraction >>> 13) & 1)) >>> 13;
}

/** bfloat16 bits → float16 bits, round to nearest even (only values below 2^−14 lose bits); overflow → ±Infinity, NaN stays NaN. */
export function bfloat16ToFloat16(bits: Uint16Array): Uint16Array {
  const out = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = BFLOAT16_HALVES[bits[i] ?? 0] ?? 0;
  return out;
}

function halfOfBfloat16(bits: number): number {
  const sign = bits & 0x8000;
  const e = ((bits >> 7) & 0xff) - 112; // float16's exponent
  const fraction = bits & 0x7f;
  if (e > 0 && e < 31) return sign | (e << 10) | (fraction << 3);
  if (e > 0) return sign | ((bits & 0x7fff) > 0x7f80 ? 0x7e00 : 0x7c00);
  return e < -10 ? sign : sign | roundShift((fraction | 0x80) << 3, 1 - e);
}

/** The float16 of all 65,536 bfloat16 values (128 KB): more than twice as fast as finding each anew. */
const BFLOAT16_HALVES = Uint16Array.from({ length: 65536 }, (_, bits) => halfOfBfloat16(bits));
