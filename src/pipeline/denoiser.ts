/** @file The UNet as the sampler's network: scaled latents and a timestep → the prediction, guidance included. */
import { concatFloats } from '../base/arrays.js';
import { UNET_IO, timestepSinusoid, unetGraph } from '../graphs/unet.js';
import { guide } from '../sampling/guidance.js';
import type { Branch, Compute, Conditioning, Role, StageRun } from './conditioning.js';
import { fromDialect, toDialect } from './layout.js';
import type { LoadedModel } from './model.js';
import type { Plan } from './plan.js';
import { twoDigits } from './trace.js';

export type Predict = (
  input: Float32Array,
  timestep: number,
  at: { readonly evaluation: number },
) => Promise<Float32Array>;

/**
 * Classifier-free guidance (Ho & Salimans 2022) runs as the plan says; with equal branches it changes nothing and one is enough.
 */
export async function createDenoiser(
  { runtime, dtype }: Compute,
  { unet }: LoadedModel,
  plan: Plan,
  conditioning: Conditioning,
  role: Role,
  run: StageRun,
): Promise<Predict> {
  const { cond, uncond, guidance } = conditioning;
  const mode = cond === uncond ? 'off' : plan.guidance;
  const batch = mode === 'batch' ? 2 : 1;
  const { height, width, channels } = plan.latent;
  const shape = { batch, height, width, textTokens: conditioning.textTokens };
  const { dialect } = runtime;
  const network = await unet.load(
    `${Object.values(shape).join('x')} ${dtype}`,
    () => unetGraph(unet.config, shape, { dialect, dtype }),
    run,
  );

  const fixed = (branches: readonly Branch[]): Record<string, Float32Array> => ({
    [UNET_IO.text]: concatFloats(branches.map((branch) => branch.text)),
    ...(unet.config.addition && {
      [UNET_IO.added]: concatFloats(branches.map((branch) => branch.added ?? new Float32Array())),
    }),
    ...(guidance && { [UNET_IO.guidance]: concatFloats(branches.map(() => guidance)) }),
  });
  // Conditions are the same at every step: both branches as one batch, or one set for each.
  const feeds =
    mode === 'batch'
      ? [fixed([uncond, cond])]
      : mode === 'sequential'
        ? [fixed([uncond]), fixed([cond])]
        : [fixed([cond])];

  const evaluate = async (input: Float32Array, sinusoid: Float32Array): Promise<readonly Float32Array[]> => {
    const sample = toDialect(dialect.layout, input, channels);
    const outputs: Float32Array[] = [];
    for (const feed of feeds) {
      const inputs = { ...feed, [UNET_IO.sample]: repeat(sample, batch), [UNET_IO.time]: repeat(sinusoid, batch) };
      const { [UNET_IO.output]: output = new Float32Array() } = await network.run(inputs, run.signal);
      for (let i = 0; i < batch; i++) {
        const one = output.subarray((i * output.length) / batch, ((i + 1) * output.length) / batch);
        outputs.push(fromDialect(dialect.layout, one, channels));
      }
    }
    return outputs;
  };

  return async (input, timestep, { evaluation }) => {
    const sinusoid = timestepSinusoid(timestep, unet.config.blockOutChannels[0] ?? 0, unet.config);
    const outputs = await evaluate(input, sinusoid);
    const [first = new Float32Array(), second] = outputs;
    const predicted = second ?? first;
    if (run.trace !== undefined) {
      const name = `${role}.unet.${twoDigits(evaluation)}`;
      run.trace(`${name}.sample`, input);
      run.trace(`${name}.timestep`, Float32Array.of(timestep));
      run.trace(`${name}.out.cond`, predicted);
      if (plan.guided) run.trace(`${name}.out.uncond`, first);
    }
    return second === undefined ? first : guide(first, second, plan.CFGScale);
  };
}

function repeat(part: Float32Array, times: number): Float32Array {
  return times === 1 ? part : concatFloats(Array<Float32Array>(times).fill(part));
}
