/** @file The UNet as the sampler's network: scaled latents and a timestep → the prediction, guidance included. */
import { concatFloats } from '../base/arrays.js';
import { UNET_IO, timestepSinusoid, unetGraph } from '../graphs/unet.js';
import { guide } from '../sampling/guidance.js';
import type { Branch, Compute, Conditioning, Role, StageRun } from './conditioning.js';
import { createControl, type ControlPart, type Rows } from './control.js';
import { fromDialect, toDialect } from './layout.js';
import type { LoadedModel } from './model.js';
import type { GuidanceMode, Plan } from './plan.js';
import { twoDigits } from './trace.js';

export type Predict = (
  input: Float32Array,
  timestep: number,
  at: { readonly evaluation: number; readonly step: number },
) => Promise<Float32Array>;

/** The network, and what it holds on the device. */
export interface Denoiser {
  readonly predict: Predict;
  /** Frees what ControlNets hold; the networks stay loaded. */
  dispose(): void;
}

/** What is asked of one stage of a picture. */
export interface DenoiserRequest {
  readonly plan: Plan;
  readonly conditioning: Conditioning;
  readonly role: Role;
  /** Those that act in some step. */
  readonly controls: readonly ControlPart[];
}

/**
 * Classifier-free guidance (Ho & Salimans 2022) runs as the plan says; with equal branches it changes nothing and one is enough.
 */
export async function createDenoiser(
  compute: Compute,
  { unet }: LoadedModel,
  { plan, conditioning, role, controls }: DenoiserRequest,
  run: StageRun,
): Promise<Denoiser> {
  const { runtime, dtype } = compute;
  const { cond, uncond, guidance } = conditioning;
  // What acts on one branch alone tells branches apart that say the same.
  const alike = cond === uncond && controls.every((part) => part.plan.mode !== 'controlnet');
  const mode = alike ? 'off' : plan.guidance;
  const batch = mode === 'batch' ? 2 : 1;
  const { height, width, channels } = plan.latent;
  const shape = { batch, height, width, textTokens: conditioning.textTokens };
  const { dialect } = runtime;
  const control = controls.length === 0 ? undefined : await createControl(compute, controls, shape, run);
  const residuals = control !== undefined;
  const network = await unet
    .load(
      `${Object.values(shape).join('x')} ${dtype}${residuals ? ' controlled' : ''}`,
      () => unetGraph(unet.config, shape, { dialect, dtype, residuals }),
      run,
    )
    .catch((error: unknown) => {
      control?.dispose();
      throw error;
    });

  const fixed = (rows: Rows): Feed => {
    const branches: readonly Branch[] = rows.map((side) => (side === 'cond' ? cond : uncond));
    return {
      rows,
      inputs: {
        [UNET_IO.text]: concatFloats(branches.map((branch) => branch.text)),
        ...(unet.config.addition && {
          [UNET_IO.added]: concatFloats(branches.map((branch) => branch.added ?? new Float32Array())),
        }),
        ...(guidance && { [UNET_IO.guidance]: concatFloats(branches.map(() => guidance)) }),
      },
    };
  };
  const feeds = rowsOf(mode).map(fixed);

  const evaluate = async (
    input: Float32Array,
    sinusoid: Float32Array,
    step: number,
  ): Promise<readonly Float32Array[]> => {
    const sample = toDialect(dialect.layout, input, channels);
    const outputs: Float32Array[] = [];
    for (const { rows, inputs: feed } of feeds) {
      const inputs = { ...feed, [UNET_IO.sample]: repeat(sample, batch), [UNET_IO.time]: repeat(sinusoid, batch) };
      const controlled = { ...inputs, ...(await control?.residuals(step, rows, inputs)) };
      const { [UNET_IO.output]: output = new Float32Array() } = await network.run(controlled, run.signal);
      for (let i = 0; i < batch; i++) {
        const one = output.subarray((i * output.length) / batch, ((i + 1) * output.length) / batch);
        outputs.push(fromDialect(dialect.layout, one, channels));
      }
    }
    return outputs;
  };

  const predict: Predict = async (input, timestep, { evaluation, step }) => {
    const sinusoid = timestepSinusoid(timestep, unet.config.blockOutChannels[0] ?? 0, unet.config);
    const outputs = await evaluate(input, sinusoid, step);
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
  return { predict, dispose: () => control?.dispose() };
}

/** Inputs that are the same at every step, for one evaluation of the network. */
interface Feed {
  readonly rows: Rows;
  readonly inputs: Readonly<Record<string, Float32Array>>;
}

/** The evaluations of a step: both branches as one batch, or one after the other, or the conditional one alone. */
function rowsOf(mode: GuidanceMode): readonly Rows[] {
  switch (mode) {
    case 'batch':
      return [['uncond', 'cond']];
    case 'sequential':
      return [['uncond'], ['cond']];
    case 'off':
      return [['cond']];
    default:
      return mode satisfies never;
  }
}

function repeat(part: Float32Array, times: number): Float32Array {
  return times === 1 ? part : concatFloats(Array<Float32Array>(times).fill(part));
}
