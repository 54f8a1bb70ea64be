/** @file Tables of rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), made here since GPU sines are only good to 2e-4. */

/** `[tokens, Σ axes/2]` each, row by row: one column for every pair of channels of a head. */
export interface RotaryAngles {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * Angles of tokens with several coordinates: pair i of axis a, which is `axes[a]` channels wide, turns by position·theta^(−2i/axes[a]) (FLUX's
 * `EmbedND`, https://github.com/black-forest-labs/flux). Angles are float64, as in diffusers on the CPU.
 * @param positions one per token, a coordinate for each axis
 */
export function rotaryAngles(
  positions: readonly (readonly number[])[],
  axes: readonly number[],
  theta = 10_000,
): RotaryAngles {
  const frequencies = axes.flatMap((width, axis) =>
    Array.from({ length: width / 2 }, (_, i) => ({ axis, perPosition: theta ** ((-2 * i) / width) })),
  );
  const cos = new Float32Array(positions.length * frequencies.length);
  const sin = new Float32Array(cos.length);
  positions.forEach((position, token) =>
    frequencies.forEach(({ axis, perPosition }, pair) => {
      const angle = (position[axis] ?? 0) * perPosition;
      cos[token * frequencies.length + pair] = Math.cos(angle);
      sin[token * frequencies.length + pair] = Math.sin(angle);
    }),
  );
  return { cos, sin };
}
