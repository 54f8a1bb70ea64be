/**
 * @file Box–Muller in float32, bit for bit as torch's CPU kernels compute it. Imports nothing.
 *
 * The logarithm and the sine/cosine are the Cephes polynomials of `aten/src/ATen/native/cpu/avx_mathfun.h`
 * (pytorch/pytorch), with the multiply-adds fused where the compiler fuses them. Every operation is float32:
 * `fma(a, b, c) = f32(a·b + c)` is exact in doubles, as the product of two floats fits into one.
 */

const f32 = Math.fround;

const LOG = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
].map(f32);
const [L0 = 0, L1 = 0, L2 = 0, L3 = 0, L4 = 0, L5 = 0, L6 = 0, L7 = 0, L8 = 0] = LOG;
const LOG2_HIGH = f32(0.693359375);
const LOG2_LOW = f32(-2.1219444e-4);
const SQRT_HALF = f32(Math.SQRT1_2);

/** ln(x) of 0 < x ≤ 1, from the bits of x. */
function log(bits: number, mantissa: number): number {
  let e = (bits >> 23) - 0x7e;
  let x = f32(mantissa - 1);
  if (mantissa < SQRT_HALF) {
    e -= 1;
    x = f32(x + mantissa);
  }
  const z = f32(x * x);
  let y = f32(L0 * x + L1);
  y = f32(y * x + L2);
  y = f32(y * x + L3);
  y = f32(y * x + L4);
  y = f32(y * x + L5);
  y = f32(y * x + L6);
  y = f32(y * x + L7);
  y = f32(y * x + L8);
  y = f32(y * x);
  y = f32(y * z + f32(e * LOG2_LOW));
  y = f32(y - f32(z * 0.5));
  return f32(e * LOG2_HIGH + f32(x + y));
}

const FOUR_OVER_PI = f32(1.27323954473516);
const REDUCE_1 = f32(-0.78515625);
const REDUCE_2 = f32(-2.41875648e-4);
const REDUCE_3 = f32(-3.774894977445941e-8);
const C0 = f32(2.443315711809948e-5);
const C1 = f32(-1.388731625493765e-3);
const C2 = f32(4.166664568298827e-2);
const S0 = f32(-1.9515295891e-4);
const S1 = f32(8.3321608736e-3);
const S2 = f32(-1.6666654611e-1);
const TWO_PI = f32(2 * Math.PI);

/**
 * Turns blocks of 16 uniforms into blocks of 16 standard normals, in place.
 * Pair j of a block is (j, j+8): `r = √(−2 ln(1−u_j))`, `θ = 2π·u_{j+8}`; out_j = r cos θ, out_{j+8} = r sin θ.
 * Box & Muller 1958.
 *
 * @param values uniforms in [0, 1) with 24 bits; [begin, end) must be whole blocks of 16
 */
export function boxMuller16(values: Float32Array, begin: number, end: number): void {
  const one = new Float32Array(1);
  const word = new Int32Array(one.buffer);
  for (let block = begin; block < end; block += 16) {
    for (let j = block; j < block + 8; j++) {
      one[0] = 1 - (values[j] ?? 0);
      const bits = word[0] ?? 0;
      word[0] = (bits & 0x007fffff) | 0x3f000000;
      const radius = f32(Math.sqrt(f32(-2 * log(bits, one[0]))));

      let x = f32(TWO_PI * (values[j + 8] ?? 0));
      const octant = (Math.trunc(f32(x * FOUR_OVER_PI)) + 1) & ~1;
      x = f32(octant * REDUCE_1 + x);
      x = f32(octant * REDUCE_2 + x);
      x = f32(octant * REDUCE_3 + x);
      const z = f32(x * x);
      let c = f32(C0 * z + C1);
      c = f32(c * z + C2);
      c = f32(f32(f32(c * z) * z - f32(z * 0.5)) + 1);
      let s = f32(S0 * z + S1);
      s = f32(s * z + S2);
      s = f32(f32(s * z) * x + x);
      const swap = (octant & 2) !== 0;
      const sine = swap ? c : s;
      const cosine = swap ? s : c;
      values[j] = radius * (((octant - 2) & 4) === 0 ? -cosine : cosine);
      values[j + 8] = radius * ((octant & 4) !== 0 ? -sine : sine);
    }
  }
}
