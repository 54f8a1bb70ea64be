/** @file The networks of a request as graphs, in the order of their use, told from configs alone: what generate.ts will load. */
import type { Architecture } from '../assets/model-files.js';
import type { ChangedNetwork } from '../assets/weight-change.js';
import type { FloatType } from '../base/dtype.js';
import { vaeDecoderGraph } from '../graphs/autoencoder-kl.js';
import { tinyDecoderGraph } from '../graphs/autoencoder-tiny.js';
import { clipTextGraph } from '../graphs/clip-text.js';
import { CONTROL_IO, controlNetGraph, controlNetHintGraph, residualIO } from '../graphs/controlnet.js';
import { residualShapes, unetGraph } from '../graphs/unet.js';
import type { ClipTextConfig } from '../models/configs/clip-text.js';
import type { ControlNetConfig } from '../models/configs/controlnet.js';
import type { UNetConfig, UNetEncoderConfig } from '../models/configs/unet.js';
import type { VaeConfig } from '../models/configs/vae.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import { bandParts, windowParts, type NetworkParts } from './banded-memory.js';
import { planBands } from './banded-plan.js';
import { planWindows } from './banded-tiny.js';
import type { Plan } from './plan.js';
import type { NamedTensors } from './weight-bytes.js';

/** What decides about a model's networks. */
export interface SizedModel {
  readonly architecture: Architecture;
  readonly encoders: readonly { readonly config: ClipTextConfig; readonly slot: 1 | 2 }[];
  readonly unet: { readonly config: UNetConfig };
}

export interface SizedModels {
  readonly base: SizedModel;
  readonly refiner: SizedModel | undefined;
  readonly vae: { readonly config: VaeConfig };
  /** Those that act in some step. */
  readonly controls?: readonly { readonly config: ControlNetConfig }[];
  /** Weights of the base that LoRAs change. */
  readonly changed?: ReadonlyMap<ChangedNetwork, NamedTensors>;
}

/** Of a plan, what decides about memory. */
export type SizedPlan = Pick<Plan, 'latent' | 'guidance' | 'clipSkip'>;

/** How graphs are written, and how long the text is. */
export interface NetworkOptions {
  readonly dialect: Dialect;
  /** Of text encoders and UNets; the decoder stays in float32. */
  readonly dtype: FloatType;
  /** 77 per chunk of the longer prompt. */
  readonly textTokens: number;
}

export type NetworkKind = 'text' | 'control' | 'unet' | 'vae';

/** A network of a request. */
export interface Network {
  /** For people: `the UNet`. */
  readonly name: string;
  readonly kind: NetworkKind;
  readonly graph: Graph;
  /** Networks that follow each other with the same number are freed together, where networks take turns. */
  readonly turn: number;
  /** Tensors that are on the device twice: as they were read, and changed. */
  readonly changed?: NamedTensors | undefined;
  /** Inputs and outputs that never leave the device. */
  readonly onDevice?: ReadonlySet<string>;
  /** Outputs that never leave the device are written into arrays of ours; so many bytes of them, and of others of ours, are there while it runs. */
  readonly arrays?: number;
  /** Freed as soon as it has run, also where networks stay. */
  readonly brief?: boolean;
  /** The decoder in bands or windows, an encoder in bands; absent where the network cannot be run in parts. */
  readonly parts?: (() => NetworkParts) | undefined;
}

/** Tokens of one CLIP sequence. */
const SEQUENCE = 77;

/** The networks of a request, in the order of their use. */
export function networksOf(models: SizedModels, plan: SizedPlan, options: NetworkOptions): readonly Network[] {
  const { base, refiner, vae, changed } = models;
  const stages = refiner === undefined ? [base] : [base, refiner];
  const whose = (model: SizedModel): string => (model === base ? '' : "refiner's ");
  const changedOf = (model: SizedModel, network: ChangedNetwork): NamedTensors | undefined =>
    model === base ? changed?.get(network) : undefined;
  const texts = stages.flatMap((model) =>
    model.encoders.map(({ config, slot }): Network => ({
      name: `the ${whose(model)}text encoder${model.encoders.length > 1 ? ` ${slot}` : ''}`,
      kind: 'text',
      graph: textGraph(model, config, slot, plan, options),
      turn: 0,
      changed: changedOf(model, slot === 1 ? 'encoder1' : 'encoder2'),
    })),
  );
  const unets = stages.flatMap((model, i): readonly Network[] => {
    const { guides, nets } = model === base ? controlNetworks(models, plan, options) : { guides: [], nets: [] };
    const residuals = nets.length > 0;
    const unet: Network = {
      name: `the ${whose(model)}UNet`,
      kind: 'unet',
      graph: unetGraph(model.unet.config, unetShape(plan, options), { ...options, residuals }),
      turn: i + 1,
      changed: changedOf(model, 'unet'),
      onDevice: new Set(residuals ? namesOf(model.unet.config, plan, options) : []),
    };
    return [...guides, unet, ...nets];
  });
  return [...texts, ...unets, decoderNetwork(vae.config, plan, options, stages.length + 1)];
}

/** The decoder, which comes last. */
export function decoderNetwork(
  config: VaeConfig,
  plan: Pick<SizedPlan, 'latent'>,
  options: Pick<NetworkOptions, 'dialect'>,
  turn: number,
): Network {
  return {
    name: 'the VAE decoder',
    kind: 'vae',
    graph: decoderGraph(config, plan, options),
    turn,
    parts: decoderParts(config, plan, options),
  };
}

/** What ControlNets take: each one's graph for its guide, run once, and the one that runs at every step beside the UNet. */
function controlNetworks(
  { controls = [] }: SizedModels,
  plan: SizedPlan,
  options: NetworkOptions,
): { readonly guides: readonly Network[]; readonly nets: readonly Network[] } {
  const shape = unetShape(plan, options);
  const residualsOf = (config: ControlNetConfig): readonly string[] =>
    namesOf(config, plan, options).flatMap((residual) => [residual, residualIO(residual).previous]);
  const name = (i: number): string => (controls.length > 1 ? `ControlNet ${i + 1}` : 'the ControlNet');
  return {
    guides: controls.map(({ config }, i) => ({
      name: `the guide of ${name(i)}`,
      kind: 'control',
      graph: controlNetHintGraph(config, shape, options),
      turn: 1,
      onDevice: new Set([CONTROL_IO.hint]),
    })),
    nets: controls.map(({ config }, i) => ({
      name: name(i),
      kind: 'control',
      graph: controlNetGraph(config, shape, { ...options, previous: true }),
      turn: 1,
      onDevice: new Set([CONTROL_IO.hint, ...residualsOf(config)]),
    })),
  };
}

function namesOf(config: UNetEncoderConfig, plan: SizedPlan, options: NetworkOptions): readonly string[] {
  return residualShapes(config, unetShape(plan, options)).map(({ name }) => name);
}

function textGraph(
  { architecture }: SizedModel,
  config: ClipTextConfig,
  slot: 1 | 2,
  { clipSkip }: SizedPlan,
  options: NetworkOptions,
): Graph {
  const hidden = [...new Set([0, clipSkip])].map((skip) =>
    architecture === 'sd' ? { skip, norm: true } : { skip: skip + 1, norm: false },
  );
  return clipTextGraph(config, { tokens: SEQUENCE, hidden, projected: slot === 2, masked: false }, options);
}

function unetShape({ latent, guidance }: SizedPlan, { textTokens }: NetworkOptions): Parameters<typeof unetGraph>[1] {
  return { batch: guidance === 'batch' ? 2 : 1, height: latent.height, width: latent.width, textTokens };
}

/** Written when it is asked for, once: it is many graphs. */
function decoderParts(
  config: VaeConfig,
  { latent }: Pick<SizedPlan, 'latent'>,
  { dialect }: Pick<NetworkOptions, 'dialect'>,
): (() => NetworkParts) | undefined {
  const { width } = latent;
  if (config.kind === 'tiny') return once(() => windowParts(config, width, planWindows(config, latent), dialect));
  const plan = planBands(config, latent);
  return plan && once(() => bandParts({ config, width, plan }, dialect));
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

function decoderGraph(
  config: VaeConfig,
  { latent }: Pick<SizedPlan, 'latent'>,
  { dialect }: Pick<NetworkOptions, 'dialect'>,
): Graph {
  const shape = { batch: 1, height: latent.height, width: latent.width };
  const options = { dialect, dtype: 'float32' } as const;
  return config.kind === 'kl' ? vaeDecoderGraph(config, shape, options) : tinyDecoderGraph(config, shape, options);
}
