/** @file float8 → float32 (Micikevicius et al. 2022, arXiv:2209.05433, table 1): E4M3 without infinities ("fn") and E5M2. Exact. */
import { float16Value, float32ToFloat16 } from './half.js';

export type Float8Type = 'F8_E4M3' | 'F8_E5M2';

/** The values of all 256 bytes. */
const VALUES: Readonly<Record<Float8Type, Float32Array>> = {
  F8_E4M3: Float32Array.from({ length: 256 }, (_, byte) => e4m3(byte)),
  // the upper half of a float16
  F8_E5M2: Float32Array.from({ length: 256 }, (_, byte) => float16Value(byte << 8)),
};

/** Every float8 is a float16, too. */
const HALVES: Readonly<Record<Float8Type, Uint16Array>> = {
  F8_E4M3: float32ToFloat16(VALUES.F8_E4M3),
  F8_E5M2: float32ToFloat16(VALUES.F8_E5M2),
};

/** Four bits of exponent, bias 7; all ones is NaN, and the largest value is 448. */
function e4m3(byte: number): number {
  const sign = byte & 0x80 ? -1 : 1;
  const exponent = (byte >> 3) & 0xf;
  const fraction = byte & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (1 + fraction / 8) * 2 ** (exponent - 7);
}

/** @param out as long as `bytes` */
export function float8ToFloat32(
  bytes: Uint8Array,
  type: Float8Type,
  out: Float32Array = new Float32Array(bytes.length),
): Float32Array {
  const values = VALUES[type];
  for (let i = 0; i < bytes.length; i++) out[i] = values[bytes[i] ?? 0] ?? NaN;
  return out;
}

/** As float16 bits. */
export function float8ToFloat16(bytes: Uint8Array, type: Float8Type): Uint16Array {
  const halves = HALVES[type];
  const out = new Uint16Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = halves[bytes[i] ?? 0] ?? 0;
  return out;
}
