/** @file The UNet as the sampler's network: scaled latents and a timestep → the prediction, guidance included. */
import { UNET_IO, timestepSinusoid, unetGraph } from '../graphs/unet.js';
import type { Runtime } from '../runtime/runtime.js';
import { guide } from '../sampling/guidance.js';
import { fromDialect, toDialect } from './layout.js';
import type { LoadedModel } from './model.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import type { TextStates } from './text-encoder.js';
import { twoDigits, type Trace } from './trace.js';

export type Predict = (
  input: Float32Array,
  timestep: number,
  at: { readonly evaluation: number },
) => Promise<Float32Array>;

/**
 * Classifier-free guidance (Ho & Salimans 2022) runs as the plan says; with equal prompts on both sides it changes nothing
 * and one branch is enough.
 */
export async function createDenoiser(
  runtime: Runtime,
  model: LoadedModel,
  plan: Plan,
  text: TextStates,
  run: { readonly progress: Progress; readonly signal?: AbortSignal | undefined; readonly trace?: Trace | undefined },
): Promise<Predict> {
  const { unet } = model;
  const mode = text.cond === text.uncond ? 'off' : plan.guidance;
  const batch = mode === 'batch' ? 2 : 1;
  const { height, width, channels } = plan.latent;
  const shape = { batch, height, width, textTokens: text.tokens };
  const network = await unet.load(
    Object.values(shape).join('x'),
    () => unetGraph(unet.config, shape, { dialect: runtime.dialect, dtype: runtime.info.dtype }),
    run.progress,
    run.signal,
  );

  const { layout } = runtime.dialect;
  const call = async (sample: Float32Array, sinusoid: Float32Array, states: Float32Array): Promise<Float32Array> => {
    const outputs = await network.run(
      { [UNET_IO.sample]: sample, [UNET_IO.time]: sinusoid, [UNET_IO.text]: states },
      run.signal,
    );
    return outputs[UNET_IO.output] ?? new Float32Array();
  };
  const bothStates = mode === 'batch' ? twice(text.uncond, text.cond) : undefined;

  const branches = async (
    input: Float32Array,
    sinusoid: Float32Array,
  ): Promise<readonly [uncond: Float32Array | undefined, cond: Float32Array]> => {
    const sample = toDialect(layout, input, channels);
    const torch = (x: Float32Array): Float32Array => fromDialect(layout, x, channels);
    if (bothStates !== undefined) {
      const both = await call(twice(sample, sample), twice(sinusoid, sinusoid), bothStates);
      return [torch(both.subarray(0, input.length)), torch(both.subarray(input.length))];
    }
    const uncond = mode === 'sequential' ? torch(await call(sample, sinusoid, text.uncond)) : undefined;
    return [uncond, torch(await call(sample, sinusoid, text.cond))];
  };

  return async (input, timestep, { evaluation }) => {
    const sinusoid = timestepSinusoid(timestep, unet.config.blockOutChannels[0] ?? 0, unet.config);
    const [uncond, cond] = await branches(input, sinusoid);
    if (run.trace !== undefined) {
      const name = `base.unet.${twoDigits(evaluation)}`;
      run.trace(`${name}.sample`, input);
      run.trace(`${name}.timestep`, Float32Array.of(timestep));
      run.trace(`${name}.out.cond`, cond);
      if (plan.guided) run.trace(`${name}.out.uncond`, uncond ?? cond);
    }
    return uncond === undefined ? cond : guide(uncond, cond, plan.CFGScale);
  };
}

function twice(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
