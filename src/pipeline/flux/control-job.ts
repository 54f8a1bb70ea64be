/** @file What a plan asks of FLUX.1's ControlNets, decided: which net acts with which guide in which mode, on which graphs. */
import type { FluxShape } from '../../graphs/flux.js';
import type { LatentSize } from '../../graphs/flux-tokens.js';
import type { RgbPicture } from '../../image/pixels.js';
import type { AutoencoderKLConfig } from '../../models/configs/autoencoder-kl.js';
import { fluxWidth, type FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import { fail } from '../../base/errors.js';
import type { GraphOptions } from '../../onnx/net.js';
import type { Lock } from '../../runtime/lock.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { StageRun } from '../conditioning.js';
import type { Tiles } from '../banded-plan.js';
import { acts, type PlannedControl } from '../control-plan.js';
import type { Vae } from '../model.js';
import { fitGuide, type TaskPictures } from '../pictures.js';
import type { Plan } from '../plan.js';
import type { FluxControl, FluxControlNet } from './control-net.js';
import { chooseMode, residualWarnings, sharedResiduals } from './control-plan.js';
import { controlGraphs, type ControlGraphs, type PerKind } from './control-sessions.js';
import type { SeenGuides } from './control.js';
import { encodeGuides, hasEncoder, hintTokens, type Moments } from './guide.js';

/** One entry of `controlNet`. */
export interface ControlEntry {
  readonly net: FluxControlNet;
  readonly plan: PlannedControl;
  /** Whether it acts in some step. */
  readonly acts: boolean;
  /** Of a union net. */
  readonly mode: number | undefined;
}

export interface ControlJob {
  /** In the request's order, those that never act too: noise is drawn for their guides. */
  readonly entries: readonly ControlEntry[];
  /** Of those that act. */
  readonly graphs: ReadonlyMap<FluxControlNet, ControlGraphs>;
  /** Names the graphs, among those of their nets. */
  readonly key: string;
  /** How many all nets share. */
  readonly residuals: PerKind<number>;
  /** Of the model's transformer, in turn with whose blocks the nets' are brought. */
  readonly pipe: Lock;
  readonly blocks: PerKind<number>;
  readonly width: number;
  readonly shape: FluxShape;
  /** Whether residuals begin again with the first, rather than each serving neighbours. */
  readonly repeated: boolean;
  readonly vae: Vae & { readonly config: AutoencoderKLConfig };
  readonly size: LatentSize;
  readonly warnings: readonly string[];
}

/** What decides about it besides the plan. */
export interface ControlSetting {
  readonly model: {
    readonly transformer: { readonly config: FluxTransformerConfig; readonly pipe: Lock };
    readonly vae: Vae;
  };
  readonly controls: readonly FluxControl[];
  /** Of the model's blocks. */
  readonly shape: FluxShape;
  /** Of the schedule, each once. */
  readonly timesteps: number;
  readonly options: GraphOptions;
}

/**
 * @param guides what drew them; absent where only sizes matter
 * @returns `undefined` without ControlNets @throws unsupportedModel where guides cannot be encoded
 */
export function describeControl(
  { latent, controlNet }: Pick<Plan, 'latent' | 'controlNet'>,
  { model, controls, shape, timesteps, options }: ControlSetting,
  guides: TaskPictures['guides'] = [],
): ControlJob | undefined {
  const [first] = controls;
  if (first === undefined) return undefined;
  const { transformer, vae } = model;
  if (!hasEncoder(vae))
    throw fail('unsupportedModel', 'A tiny autoencoder has no encoder here, which ControlNets of FLUX.1 need.', {
      parameter: 'controlNet',
    });
  const nets = controls.map(({ net }) => net);
  const residuals = sharedResiduals(nets.map(({ config }) => config));
  const warnings = [...residualWarnings(nets.map(({ name, config }) => ({ ...config, name })))];
  const entries = controls.flatMap(({ net, mode: said }, i): readonly ControlEntry[] => {
    const plan = controlNet[i];
    if (plan === undefined) return [];
    const asked = plan.unionMode !== undefined;
    const question = { name: net.name, modes: net.config.modes, said, asked, guideOf: guides[i]?.preProcessorType };
    const choice = chooseMode(`controlNet[${i}]`, question);
    warnings.push(...choice.warnings);
    return [{ net, plan, acts: acts(plan), mode: choice.mode }];
  });
  const active = new Set(entries.flatMap((entry) => (entry.acts ? [entry.net] : [])));
  const graphs = new Map([...active].map((net) => [net, controlGraphs(net, shape, residuals, timesteps, options)]));
  const { doubleBlocks, singleBlocks } = transformer.config;
  return {
    entries,
    graphs,
    key: `${shape.textTokens}+${shape.imageTokens} ${options.dtype} ${residuals.double}+${residuals.single}`,
    residuals,
    pipe: transformer.pipe,
    blocks: { double: doubleBlocks, single: singleBlocks },
    width: fluxWidth(transformer.config),
    shape,
    repeated: first.net.config.hintChannels !== undefined,
    vae,
    size: latent,
    warnings,
  };
}

/** Looks at the guides: once for all pictures. @param tiles whether the encoder is cut @throws as {@link encodeGuides} and {@link hintTokens} */
export async function seeGuides(
  runtime: Runtime,
  { entries, vae, size }: ControlJob,
  guides: TaskPictures['guides'],
  pixels: Pick<RgbPicture, 'width' | 'height'>,
  run: StageRun,
  tiles?: Tiles,
): Promise<SeenGuides> {
  const fitted = entries.map((entry, i) => {
    const guide = guides[i]?.picture;
    return entry.acts && guide !== undefined ? fitGuide(guide, pixels.width, pixels.height) : undefined;
  });
  const forVae = fitted.filter((_, i) => entries[i]?.net.config.hintChannels === undefined);
  const moments = [
    ...(await encodeGuides(
      runtime,
      vae,
      size,
      forVae.flatMap((picture) => picture ?? []),
      run,
      tiles,
    )),
  ];
  const seen: (Moments | Float32Array | undefined)[] = [];
  for (const [i, { net }] of entries.entries()) {
    const picture = fitted[i];
    const { hintChannels } = net.config;
    if (picture === undefined) seen.push(undefined);
    else if (hintChannels === undefined) seen.push(moments.shift());
    else seen.push(await hintTokens(runtime, net, hintChannels, size, picture, run));
    const last = seen.at(-1);
    if (last !== undefined && 'mean' in last) {
      run.trace?.(`control.${i}.mean`, last.mean);
      run.trace?.(`control.${i}.std`, last.std);
    }
  }
  return seen;
}

/** Frees the nets' weights. */
export async function freeControl({ entries }: ControlJob): Promise<void> {
  for (const net of new Set(entries.map((entry) => entry.net))) await net.dispose();
}
