/**
 * @file Box–Muller in float32, bit for bit as torch's CPU kernels compute it. Imports nothing.
 *
 * The logarithm and the sine/cosine are the Cephes polynomials of `aten/src/ATen/native/cpu/avx_mathfun.h`
 * (pytorch/pytorch), with the multiply-adds fused where the compiler fuses them. Every operation is float32:
 * `fma(a, b, c) = f32(a·b + c)` is exact in doubles, as the product of two floats fits into one.
 *
 * Written for speed in three ways that the mathematics does not ask for: constants are local, where the engine folds them;
 * nothing branches on random bits, which no processor can foresee; and what is a float32 anyway, as a halved or doubled one
 * is, is not rounded. Each uniform is an integer of 24 bits, from which exponent, mantissa and octant can be read.
 */

/** √½ as a mantissa of 24 bits. */
const SQRT_HALF = 0xb504f3;

/** ln(n/2²⁴) of an integer 0 < n ≤ 2²⁴. */
function log(n: number): number {
  const f32 = Math.fround;
  const zeros = Math.clz32(n);
  const mantissa = (n << zeros) >>> 8; // 2²³ ≤ mantissa < 2²⁴
  const isBelow = (mantissa - SQRT_HALF) >>> 31; // 1 where it is less than √½: then it is doubled
  const e = 8 - zeros - isBelow;
  const x = ((mantissa << isBelow) - 2 ** 24) * 2 ** -24;
  const z = f32(x * x);
  let y = f32(f32(7.0376836292e-2) * x + f32(-1.151461031e-1));
  y = f32(y * x + f32(1.167699874e-1));
  y = f32(y * x + f32(-1.2420140846e-1));
  y = f32(y * x + f32(1.4249322787e-1));
  y = f32(y * x + f32(-1.6668057665e-1));
  y = f32(y * x + f32(2.0000714765e-1));
  y = f32(y * x + f32(-2.4999993993e-1));
  y = f32(y * x + f32(3.3333331174e-1));
  y = f32(y * x);
  y = f32(y * z + f32(e * f32(-2.1219444e-4))); // ln 2 = 0.693359375 − 2.1219444e-4
  y = f32(y - z * 0.5);
  return f32(e * 0.693359375 + f32(x + y));
}

/**
 * Turns blocks of 16 uniforms into blocks of 16 standard normals, in place.
 * Pair j of a block is (j, j+8): `r = √(−2 ln(1−u_j))`, `θ = 2π·u_{j+8}`; out_j = r cos θ, out_{j+8} = r sin θ.
 * Box & Muller 1958.
 *
 * @param values integers 0…2²⁴−1, 2²⁴ times the uniforms; [begin, end) must be whole blocks of 16
 */
export function boxMuller16(values: Float32Array, begin: number, end: number): void {
  const f32 = Math.fround;
  for (let block = begin; block < end; block += 16) {
    for (let j = block; j < block + 8; j++) {
      const radius = f32(Math.sqrt(-2 * log((2 ** 24 - (values[j] ?? 0)) | 0)));

      // θ less the nearest multiple of π/2, which is taken off in three parts
      const turn = values[j + 8] ?? 0;
      const octant = ((turn >>> 21) + 1) & ~1;
      let x = octant * -0.78515625 + f32(f32(2 * Math.PI) * 2 ** -24 * turn);
      x = f32(octant * f32(-2.41875648e-4) + x);
      x = f32(octant * f32(-3.774894977445941e-8) + x);
      const z = f32(x * x);
      let c = f32(f32(2.443315711809948e-5) * z + f32(-1.388731625493765e-3));
      c = f32(c * z + f32(4.166664568298827e-2));
      c = f32(f32(f32(c * z) * z - z * 0.5) + 1);
      let s = f32(f32(-1.9515295891e-4) * z + f32(8.3321608736e-3));
      s = f32(s * z + f32(-1.6666654611e-1));
      s = f32(f32(s * z) * x + x);

      // After an odd number of quarter turns cosine and sine have changed places, after two both have the other sign.
      const exchanged = (octant & 2) << 2;
      const signOfC = 1 - ((octant & 4) >> 1);
      const signOfS = 1 - (((octant + 2) & 4) >> 1);
      values[j + exchanged] = radius * (signOfC * c);
      values[j + 8 - exchanged] = radius * (signOfS * s);
    }
  }
}
