/** @file A look inside a run: every intermediate under the name that the goldens use. For tests; absent in normal runs. */

/**
 * Called with each intermediate as it appears, in torch's layout (`[C,H,W]`). Names: `scheduler.timesteps` and
 * `.sigmas` (of the request, once), `base.ids_1.cond` and `.uncond` (token ids,
 * rows of 77), `base.prompt_embeds.*`, `noise.N`, `base.unet.NN.sample`, `.timestep`, `.out.cond`, `.out.uncond`, `latents.NN`,
 * `latents.final`, `decode.input`, `decoded`.
 */
export type Trace = (name: string, data: Float32Array | Int32Array) => void;

/** Two digits, as in `latents.07`. */
export function twoDigits(n: number): string {
  return String(n).padStart(2, '0');
}
