/** @file Sinusoidal features of a time, a guidance scale or another number, as networks that make pictures read them. */

/** −ln 10000 as a float32. */
const RATE = Math.fround(-Math.log(10_000));

export interface SinusoidOptions {
  /** Cosines before sines. */
  readonly flipSinToCos: boolean;
  /** Subtracted from the number of frequencies, so that with 1 the last of them is 1/10000. */
  readonly freqShift: number;
}

/**
 * `[sin(t·w₀) … sin(t·wₙ₋₁), cos(t·w₀) … cos(t·wₙ₋₁)]`, wᵢ = 10000^(−i/(n − shift)), n = `width`/2 (Vaswani et al. 2017, §3.5;
 * diffusers `get_timestep_embedding`). Every step is rounded to float32, as there: at t = 3500 the exact angles would be off from those that
 * models are trained with by 2e-4. Made here, since GPU sines are only good to 2e-4.
 */
export function timestepSinusoid(t: number, width: number, { flipSinToCos, freqShift }: SinusoidOptions): Float32Array {
  const n = width >> 1;
  const [sines, cosines] = flipSinToCos ? [n, 0] : [0, n];
  const out = new Float32Array(width);
  for (let i = 0; i < n; i++) {
    const frequency = Math.fround(Math.exp(Math.fround(Math.fround(RATE * i) / (n - freqShift))));
    const angle = Math.fround(Math.fround(t) * frequency);
    out[sines + i] = Math.sin(angle);
    out[cosines + i] = Math.cos(angle);
  }
  return out;
}

/** The form that transformers read: cosines first, no shift. */
export function sinusoid(t: number, width: number): Float32Array {
  return timestepSinusoid(t, width, { flipSinToCos: true, freqShift: 0 });
}
