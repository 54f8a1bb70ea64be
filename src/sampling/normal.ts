/**
 * @file Box–Muller in float32, bit for bit as torch's CPU kernels compute it. Imports nothing.
 *
 * The logarithm and the sine/cosine are the Cephes polynomials of `aten/src/ATen/native/cpu/avx_mathfun.h`
 * (pytorch/pytorch), with the multiply-adds fused where the compiler fuses them. Every operation is float32:
 * `fma(a, b, c) = f32(a·b + c)` is exact in doubles, as the product of two floats fits into one.
 *
 * Written for speed in two ways that the mathematics does not ask for: constants are local, where the engine folds them, and
 * nothing branches on random bits, which no processor can foresee. Half the time of the plain form (Node 20).
 */

/** The bits of √½ as float32. */
const SQRT_HALF_BITS = 0x3f3504f3;

/** ln(x) of 0 < x ≤ 1, from the bits of x, and its mantissa in [½, 1) with its bits. */
function log(bits: number, mantissa: number, mantissaBits: number): number {
  const f32 = Math.fround;
  const isBelow = (mantissaBits - SQRT_HALF_BITS) >>> 31; // 1 where the mantissa is less than √½: then it is doubled
  const e = (bits >> 23) - 0x7e - isBelow;
  const x = f32(f32(mantissa - 1) + isBelow * mantissa);
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
  y = f32(y - f32(z * 0.5));
  return f32(e * 0.693359375 + f32(x + y));
}

/**
 * Turns blocks of 16 uniforms into blocks of 16 standard normals, in place.
 * Pair j of a block is (j, j+8): `r = √(−2 ln(1−u_j))`, `θ = 2π·u_{j+8}`; out_j = r cos θ, out_{j+8} = r sin θ.
 * Box & Muller 1958.
 *
 * @param values uniforms in [0, 1) with 24 bits; [begin, end) must be whole blocks of 16
 */
export function boxMuller16(values: Float32Array, begin: number, end: number): void {
  const f32 = Math.fround;
  const one = new Float32Array(1);
  const word = new Int32Array(one.buffer);
  for (let block = begin; block < end; block += 16) {
    for (let j = block; j < block + 8; j++) {
      one[0] = 1 - (values[j] ?? 0);
      const bits = word[0] ?? 0;
      const mantissaBits = (bits & 0x007fffff) | 0x3f000000;
      word[0] = mantissaBits;
      const radius = f32(Math.sqrt(f32(-2 * log(bits, one[0], mantissaBits))));

      // θ less the nearest multiple of π/2, which is taken off in three parts
      let x = f32(f32(2 * Math.PI) * (values[j + 8] ?? 0));
      const octant = ((f32(x * f32(1.27323954473516)) | 0) + 1) & ~1;
      x = f32(octant * -0.78515625 + x);
      x = f32(octant * f32(-2.41875648e-4) + x);
      x = f32(octant * f32(-3.774894977445941e-8) + x);
      const z = f32(x * x);
      let c = f32(f32(2.443315711809948e-5) * z + f32(-1.388731625493765e-3));
      c = f32(c * z + f32(4.166664568298827e-2));
      c = f32(f32(f32(c * z) * z - f32(z * 0.5)) + 1);
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
