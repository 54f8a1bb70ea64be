/** @file A FLUX.1 model made ready: configs parsed, tokenizers built, weight headers read, memory on the device owned here. */
import type { DerivedFiles } from '../../assets/derived-files.js';
import type { FluxFiles } from '../../assets/model-files.js';
import type { WeightFile } from '../../assets/weights.js';
import { fail } from '../../base/errors.js';
import { T5_TOKEN_TABLE } from '../../graphs/t5.js';
import type { ModelCard } from '../../models/card.js';
import { parseFluxTransformerConfig, type FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import { parseSchedulerConfig, type RawSchedulerConfig } from '../../models/configs/scheduler.js';
import { parseT5Config, type T5Config } from '../../models/configs/t5.js';
import { parseVaeConfig } from '../../models/configs/vae.js';
import type { WeightBits } from '../../models/details.js';
import type { Runtime } from '../../runtime/runtime.js';
import { familyOf } from '../../sampling/index.js';
import { createT5Tokenizer, type T5Tokenizer } from '../../text/t5-tokenizer.js';
import { createComponent, type LoadRun } from '../component.js';
import { openEncoder, type Freeable, type TextEncoder, type Vae } from '../model.js';
import { openTokenTable, type EmbedTokens } from '../token-table.js';
import { createBlockNetwork, type BlockNetwork } from './network.js';
import { isFew } from './packing.js';
import { createRoundedFile, roundedMatrices, roundedOfT5, type RoundedFile } from './rounding.js';
import type { T5Sessions } from './t5-encoder.js';
import type { TransformerSessions } from './transformer.js';

export type Transformer = BlockNetwork<TransformerSessions> & { readonly config: FluxTransformerConfig };
export type T5Encoder = BlockNetwork<T5Sessions> & {
  readonly config: T5Config;
  readonly tokenizer: T5Tokenizer;
  readonly embed: EmbedTokens;
  /** What its matrices are rounded to. */
  readonly bits: WeightBits | undefined;
};

/** An opened model. Whoever opened it must dispose it. */
export interface FluxModel {
  readonly architecture: 'flux';
  readonly name: string;
  readonly card: ModelCard | undefined;
  readonly transformer: Transformer;
  /** What the transformer's blocks are rounded to. */
  readonly weightBits: WeightBits | undefined;
  /** Gives its pooled output alone. */
  readonly clip: TextEncoder;
  readonly t5: T5Encoder;
  readonly vae: Vae;
  readonly scheduler: RawSchedulerConfig;
  /** Which parts are another model's, for whoever asked. */
  readonly warnings: readonly string[];
  /** To be called when its files are there, before its weights are read. As {@link RoundedFile.prepare}. */
  prepare(run: LoadRun): Promise<readonly string[]>;
  /** All of them but the autoencoder. */
  readonly networks: readonly Freeable[];
  dispose(): Promise<void>;
}

export interface OpenFluxOptions {
  readonly weightBits?: WeightBits | undefined;
  readonly textEncoderBits?: WeightBits | undefined;
  /** Keeps what is made of the model's files. */
  readonly derived?: DerivedFiles | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws missingModelFile, unsupportedModel, invalidModelConfig, invalidModelFile, downloadFailed, aborted */
export async function openFluxModel(
  runtime: Runtime,
  files: FluxFiles,
  { weightBits, textEncoderBits, derived, signal }: OpenFluxOptions = {},
): Promise<FluxModel> {
  const { name, architecture, card, warnings = [] } = files;
  const config = parseFluxTransformerConfig(files.transformer.config, `${name}/transformer/config.json`);
  const vaeConfig = parseVaeConfig(files.vae.config, `${name}/vae/config.json`);
  const scheduler = parseSchedulerConfig(files.scheduler, `${name}/scheduler/scheduler_config.json`);
  const family = familyOf(scheduler);
  if (family !== 'flow') {
    const message = `${name}/scheduler/scheduler_config.json is for a ${family} model; FLUX.1 is sampled by flow matching.`;
    throw fail('invalidModelConfig', message, { parameter: 'model', hint: "Use the model's own file." });
  }
  const [transformerFile, vaeFile, clip, t5] = await Promise.all([
    files.transformer.open(signal),
    files.vae.open(signal),
    openEncoder(runtime, name, files.clip, signal),
    openT5(runtime, name, files.t5, { bits: textEncoderBits, derived, signal }),
  ]);
  checkWidths(name, config, {
    pooled: clip.config.hiddenSize,
    text: t5.config.width,
    latents: vaeConfig.latentChannels,
  });
  const rounded =
    weightBits === undefined
      ? asItIs(transformerFile)
      : createRoundedFile(
          { model: name, network: 'transformer' },
          transformerFile,
          roundedMatrices({ file: transformerFile, config }, weightBits, runtime.dialect),
          derived,
        );
  const transformer = {
    ...createBlockNetwork<TransformerSessions>(runtime, rounded.file, isFew(weightBits)),
    config,
  };
  const vae = { ...createComponent(runtime, vaeFile), config: vaeConfig };
  return {
    name,
    architecture,
    card,
    transformer,
    weightBits,
    clip,
    t5,
    vae,
    scheduler,
    warnings,
    prepare: async (run) => [...(await rounded.prepare(run)), ...(await t5.prepare(run))],
    networks: [transformer, t5, clip],
    async dispose() {
      for (const component of [transformer, t5, clip, vae]) await component.dispose();
      await runtime.flush();
    },
  };
}

interface OpenT5Options {
  readonly bits: WeightBits | undefined;
  readonly derived: DerivedFiles | undefined;
  readonly signal: AbortSignal | undefined;
}

async function openT5(
  runtime: Runtime,
  model: string,
  files: FluxFiles['t5'],
  { bits, derived, signal }: OpenT5Options,
): Promise<T5Encoder & Pick<RoundedFile, 'prepare'>> {
  const config = parseT5Config(files.config, `${model}/text_encoder_2/config.json`);
  const given = await files.open(signal);
  const rounded =
    bits === undefined
      ? asItIs(given)
      : createRoundedFile(
          { model, network: 'text encoder' },
          given,
          roundedOfT5({ file: given, config }, bits, runtime.dialect),
          derived,
        );
  const network = createBlockNetwork<T5Sessions>(runtime, rounded.file, isFew(bits));
  const embed = openTokenTable(rounded.file, { name: T5_TOKEN_TABLE, size: config.vocabSize, width: config.width });
  const tokenizer = createT5Tokenizer(files.tokenizer);
  return { ...network, config, tokenizer, embed, bits, prepare: (run) => rounded.prepare(run) };
}

/** Nothing is rounded. */
function asItIs(file: WeightFile): RoundedFile {
  return { file, prepare: () => Promise.resolve([]) };
}

/** The parts of a model must fit together. */
function checkWidths(
  name: string,
  { pooledDim, textDim, inChannels }: FluxTransformerConfig,
  has: { readonly pooled: number; readonly text: number; readonly latents: number },
): void {
  const wanted: readonly (readonly [what: string, key: string, expected: number, got: number])[] = [
    ['the pooled text of text_encoder', 'pooled_projection_dim', pooledDim, has.pooled],
    ['the text states of text_encoder_2', 'joint_attention_dim', textDim, has.text],
    ['four times the latent channels of vae', 'in_channels', inChannels, 4 * has.latents],
  ];
  for (const [what, key, expected, got] of wanted) {
    if (expected === got) continue;
    throw fail('invalidModelConfig', `${name}/transformer/config.json: ${key} is ${expected}; ${what}: ${got}.`);
  }
}
