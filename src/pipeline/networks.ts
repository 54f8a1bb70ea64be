/** @file The networks of a request as graphs, in the order of their use, told from configs alone: what generate.ts will load. */
import type { Architecture } from '../assets/model-files.js';
import type { FloatType } from '../base/dtype.js';
import { vaeDecoderGraph } from '../graphs/autoencoder-kl.js';
import { tinyDecoderGraph } from '../graphs/autoencoder-tiny.js';
import { clipTextGraph } from '../graphs/clip-text.js';
import { unetGraph } from '../graphs/unet.js';
import type { ClipTextConfig } from '../models/configs/clip-text.js';
import type { UNetConfig } from '../models/configs/unet.js';
import type { VaeConfig } from '../models/configs/vae.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import type { Plan } from './plan.js';

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

export type NetworkKind = 'text' | 'unet' | 'vae';

/** A network of a request. */
export interface Network {
  /** For people: `the UNet`. */
  readonly name: string;
  readonly kind: NetworkKind;
  readonly graph: Graph;
}

/** Tokens of one CLIP sequence. */
const SEQUENCE = 77;

/** The networks of a request, in the order of their use. */
export function networksOf(models: SizedModels, plan: SizedPlan, options: NetworkOptions): readonly Network[] {
  const { base, refiner, vae } = models;
  const stages = refiner === undefined ? [base] : [base, refiner];
  const whose = (model: SizedModel): string => (model === base ? '' : "refiner's ");
  return [
    ...stages.flatMap((model) =>
      model.encoders.map(({ config, slot }): Network => ({
        name: `the ${whose(model)}text encoder${model.encoders.length > 1 ? ` ${slot}` : ''}`,
        kind: 'text',
        graph: textGraph(model, config, slot, plan, options),
      })),
    ),
    ...stages.map((model): Network => ({
      name: `the ${whose(model)}UNet`,
      kind: 'unet',
      graph: unetGraph(model.unet.config, unetShape(plan, options), options),
    })),
    { name: 'the VAE decoder', kind: 'vae', graph: decoderGraph(vae.config, plan, options) },
  ];
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

function decoderGraph(config: VaeConfig, { latent }: SizedPlan, { dialect }: NetworkOptions): Graph {
  const shape = { batch: 1, height: latent.height, width: latent.width };
  const options = { dialect, dtype: 'float32' } as const;
  return config.kind === 'kl' ? vaeDecoderGraph(config, shape, options) : tinyDecoderGraph(config, shape, options);
}
