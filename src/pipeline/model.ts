/** @file A model made ready: configs parsed, tokenizers built, weight headers read, memory on the device owned here. */
import type { Architecture, EncoderFiles, ModelFiles } from '../assets/model-files.js';
import type { WeightFile } from '../assets/weights.js';
import { fail } from '../base/errors.js';
import { TOKEN_TABLE } from '../graphs/clip-text.js';
import type { ModelCard } from '../models/card.js';
import { parseClipTextConfig, type ClipTextConfig } from '../models/configs/clip-text.js';
import { parseSchedulerConfig, type RawSchedulerConfig } from '../models/configs/scheduler.js';
import { parseUNetConfig, type UNetConfig } from '../models/configs/unet.js';
import { parseVaeConfig, type VaeConfig } from '../models/configs/vae.js';
import type { Runtime } from '../runtime/runtime.js';
import { createClipTokenizer, type ClipTokenizer } from '../text/clip-tokenizer.js';
import { createComponent, type Component } from './component.js';
import { openTokenTable, type EmbedTokens } from './token-table.js';

export type UNet = Component & { readonly config: UNetConfig };
export type Vae = Component & { readonly config: VaeConfig };
export type TextEncoder = Component & {
  readonly config: ClipTextConfig;
  /** 1, or 2 for SDXL's encoder with projection. */
  readonly slot: 1 | 2;
  readonly tokenizer: ClipTokenizer;
  readonly embed: EmbedTokens;
};

/** Weights of a model on the device. */
export interface Freeable {
  readonly file: WeightFile;
  dispose(): Promise<void>;
}

/** An opened model. Whoever opened it must dispose it. */
export interface LoadedModel {
  readonly name: string;
  readonly architecture: Architecture;
  readonly card: ModelCard | undefined;
  readonly unet: UNet;
  readonly vae: Vae;
  /** In slot order; SD has one, SDXL two, its refiner only the second. */
  readonly encoders: readonly TextEncoder[];
  readonly scheduler: RawSchedulerConfig;
  readonly forceZerosForEmptyPrompt: boolean;
  readonly requiresAestheticsScore: boolean;
  /** All of them but the autoencoder. */
  readonly networks: readonly Freeable[];
  dispose(): Promise<void>;
}

/** @throws missingModelFile, unsupportedModel, invalidModelConfig, invalidModelFile, downloadFailed, aborted */
export async function openModel(runtime: Runtime, files: ModelFiles, signal?: AbortSignal): Promise<LoadedModel> {
  const { name, architecture, card, forceZerosForEmptyPrompt, requiresAestheticsScore } = files;
  const unetConfig = parseUNetConfig(files.unet.config, `${name}/unet/config.json`);
  const vaeConfig = parseVaeConfig(files.vae.config, `${name}/vae/config.json`);
  const scheduler = parseSchedulerConfig(files.scheduler, `${name}/scheduler/scheduler_config.json`);
  const [unetFile, vaeFile, encoders] = await Promise.all([
    files.unet.open(signal),
    files.vae.open(signal),
    Promise.all(files.encoders.map((encoder) => openEncoder(runtime, name, encoder, signal))),
  ]);
  checkText(name, unetConfig, encoders);
  const unet = { ...createComponent(runtime, unetFile), config: unetConfig };
  const vae = { ...createComponent(runtime, vaeFile), config: vaeConfig };
  return {
    name,
    architecture,
    card,
    unet,
    vae,
    encoders,
    scheduler,
    forceZerosForEmptyPrompt,
    requiresAestheticsScore,
    networks: [unet, ...encoders],
    async dispose() {
      for (const component of [unet, vae, ...encoders]) await component.dispose();
      await runtime.flush();
    },
  };
}

/** The states of a model's text encoders side by side are what its UNet reads. */
function checkText(name: string, unet: UNetConfig, encoders: readonly TextEncoder[]): void {
  const width = encoders.reduce((sum, { config }) => sum + config.hiddenSize, 0);
  const reads = unet.crossAttentionDim.filter((_, level) => unet.downBlockTypes[level] === 'CrossAttnDownBlock2D');
  const other = reads.find((wanted) => wanted !== width);
  if (other === undefined) return;
  const message = `${name}: its text encoders give states ${width} wide, its UNet reads ${other}: they are parts of different models.`;
  throw fail('invalidModelConfig', message, {
    parameter: 'model',
    hint: 'Take unet/ and text_encoder/ from one model.',
  });
}

/** A CLIP text encoder in a model's slot. @throws invalidModelConfig, invalidModelFile, missingModelFile, downloadFailed, aborted */
export async function openEncoder(
  runtime: Runtime,
  model: string,
  files: EncoderFiles,
  signal?: AbortSignal,
): Promise<TextEncoder> {
  const folder = files.slot === 1 ? 'text_encoder' : 'text_encoder_2';
  const config = parseClipTextConfig(files.config, `${model}/${folder}/config.json`);
  const component = createComponent(runtime, await files.open(signal));
  const embed = openTokenTable(component.file, { name: TOKEN_TABLE, size: config.vocabSize, width: config.hiddenSize });
  return { ...component, config, slot: files.slot, tokenizer: createClipTokenizer(files.tokenizer), embed };
}
