/**
 * @file A single-file checkpoint: LDM/SGM-layout .safetensors → `ModelFiles`. What it is comes from its header; configs and tokenizers from a folder `config/`
 * beside it where there is one, else from the shapes, the family and CLIP's published vocabulary.
 */
import { fail } from '../base/errors.js';
import { fields } from '../base/fields.js';
import {
  FAMILY_FACTS,
  FAMILY_SCHEDULERS,
  LCM_SCHEDULER,
  ZERO_TERMINAL_SNR,
  type EncoderFacts,
  type FamilyFacts,
  type PredictionType,
} from '../models/checkpoint-families.js';
import { autoencoderConfig, clipTextConfig, unetConfig, type ShapeOf } from '../models/configs-from-shapes.js';
import { detectFile, UNET_PREFIX, VAE_PREFIX, type Checkpoint } from '../models/detect.js';
import { CLIP_TEXT_LAYOUT } from '../models/layouts/diffusers.js';
import { ldmAutoencoderLayout, readLdmAutoencoderLevels } from '../models/layouts/ldm-autoencoder.js';
import { ldmUNetLayout, readLdmUNetBlocks } from '../models/layouts/ldm-unet.js';
import { tensorsUnder, withPrefix, type WeightLayout } from '../models/layouts/layout.js';
import { OPEN_CLIP_LAYOUT } from '../models/layouts/open-clip.js';
import { configFolder, firstCard, readOptionalJson } from './beside-file.js';
import { CLIP_VOCABULARY_SIZE, readClipTokenizer } from './clip-tokenizer-files.js';
import type { ComponentFiles, EncoderFiles, ModelFiles } from './model-files.js';
import { parseModelIndex } from './model-index.js';
import type { FileTree } from './source.js';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.js';
import type { TensorFile, WeightTensors } from './weight-tensors.js';
import { viewWeights, type WeightFile } from './weights.js';

export interface SingleFileOptions {
  readonly signal?: AbortSignal | undefined;
  /** Holds CLIP's published `merges.txt`, for checkpoints without a tokenizer. */
  readonly clipTokenizer?: FileTree | undefined;
  /** What the network's output means, where the header does not say it or is wrong. */
  readonly predictionType?: PredictionType | 'sample' | undefined;
}

/** What every step needs. */
interface Context extends SingleFileOptions {
  readonly name: string;
  readonly tensors: WeightTensors;
  /** The folder `config/` beside the file. */
  readonly configs: FileTree | undefined;
}

/**
 * A checkpoint whose header is read, with what lies beside it; no weights.
 * @param tree the folder that the file is in
 * @throws unsupportedModel saying what else the file is, invalidModelFile, pickleRefused, missingModelFile, invalidModelConfig,
 *   downloadFailed, aborted
 */
export async function readSingleFile(
  tree: FileTree,
  { name, tensors, metadata }: TensorFile,
  options: SingleFileOptions,
): Promise<ModelFiles> {
  const { signal } = options;
  const found = detectFile({ tensors, metadata });
  if (found.kind !== 'checkpoint') {
    const code = found.kind === 'unknown' ? 'invalidModelFile' : 'unsupportedModel';
    throw fail(code, `${name} is ${found.what}, not a checkpoint.`, { parameter: 'model', hint: found.hint });
  }
  const context: Context = { ...options, name, tensors, configs: await configFolder(tree, signal) };
  return readCheckpoint(tree, found, context);
}

async function readCheckpoint(tree: FileTree, found: Checkpoint, context: Context): Promise<ModelFiles> {
  const facts = FAMILY_FACTS[found.family];
  const { forceZerosForEmptyPrompt, requiresAestheticsScore } = await readFlags(facts, context);
  const encoders = await Promise.all(facts.encoders.map((encoder) => readEncoder(encoder, context)));
  const unet = await readUNet(found, context);
  return {
    name: context.name,
    architecture: facts.architecture,
    card: await firstCard([tree, context.configs], context.signal),
    unet,
    vae: await readVae(found, context),
    encoders,
    scheduler: await readScheduler(found, unet.config, context),
    forceZerosForEmptyPrompt,
    requiresAestheticsScore,
  };
}

function readConfig({ configs, signal }: Context, path: string): Promise<unknown> {
  return readOptionalJson(configs, path, signal);
}

async function readFlags(
  facts: FamilyFacts,
  context: Context,
): Promise<Pick<ModelFiles, 'forceZerosForEmptyPrompt' | 'requiresAestheticsScore'>> {
  const json = await readConfig(context, 'model_index.json');
  if (json === undefined) return facts;
  const where = `${context.configs?.name ?? ''}/model_index.json`;
  const index = parseModelIndex(json, where);
  if (index.architecture === facts.architecture) return index;
  throw fail('invalidModelConfig', `${where} is for another model: ${context.name} is a ${facts.name} checkpoint.`);
}

async function readUNet({ family, prediction }: Checkpoint, context: Context): Promise<ComponentFiles> {
  const facts = FAMILY_FACTS[family];
  const where = `${context.name}: UNet`;
  const blocks = readLdmUNetBlocks(tensorsUnder(UNET_PREFIX, context.tensors).keys());
  if (blocks === undefined) throw fail('unsupportedModel', `${where}: its levels are not of equal length.`);
  const weights = view(context, withPrefix(UNET_PREFIX, ldmUNetLayout(blocks)));
  const sampleSize = facts.sampleSize[trainedAs(context.predictionType ?? prediction ?? facts.prediction)];
  return component(
    weights,
    (await readConfig(context, 'unet/config.json')) ??
      unetConfig(shapesOf(weights), { ...facts, sampleSize, pooledWidth: pooledWidth(facts, context) }, where),
  );
}

/** Of the encoder with projection. */
function pooledWidth({ encoders }: FamilyFacts, context: Context): number {
  const pooling = encoders.find(({ slot }) => slot === 2);
  return pooling === undefined
    ? 0
    : (view(context, encoderLayout(pooling)).find('text_projection.weight')?.shape[0] ?? 0);
}

async function readVae({ family, hasVae }: Checkpoint, context: Context): Promise<ComponentFiles> {
  if (!hasVae) {
    throw fail('invalidModelFile', `${context.name} has no VAE (${VAE_PREFIX}…): its pictures cannot be decoded.`, {
      parameter: 'model',
      hint: 'Use a checkpoint with its VAE "baked in", or the diffusers folder of this model.',
    });
  }
  const weights = viewVae(context, VAE_PREFIX);
  const config = await readConfig(context, 'vae/config.json');
  return component(weights, config ?? vaeConfig(weights, FAMILY_FACTS[family].vaeScaling));
}

/** The autoencoder in `tensors` under `prefix`, in the original layout. */
export function viewVae({ name, tensors }: Pick<Context, 'name' | 'tensors'>, prefix: string): WeightFile {
  const levels = readLdmAutoencoderLevels(tensorsUnder(prefix, tensors).keys());
  return viewWeights(name, tensors, withPrefix(prefix, ldmAutoencoderLayout(levels)));
}

/** The config of an AutoencoderKL that came without. */
export function vaeConfig(weights: WeightFile, scalingFactor: number): unknown {
  return autoencoderConfig(shapesOf(weights), scalingFactor, `${weights.name}: VAE`);
}

async function readEncoder(facts: EncoderFacts, context: Context): Promise<EncoderFiles> {
  const weights = view(context, encoderLayout(facts));
  const folder = facts.slot === 1 ? 'text_encoder' : 'text_encoder_2';
  const config = await readConfig(context, `${folder}/config.json`);
  const derived = config ?? clipTextConfig(shapesOf(weights), facts, `${context.name}: text encoder ${facts.slot}`);
  return { ...component(weights, derived), slot: facts.slot, tokenizer: await readTokenizer(facts, weights, context) };
}

function encoderLayout({ prefix, layout }: EncoderFacts): WeightLayout {
  return withPrefix(prefix, layout === 'openClip' ? OPEN_CLIP_LAYOUT : CLIP_TEXT_LAYOUT);
}

const TOKEN_TABLE = 'text_model.embeddings.token_embedding.weight';

/** From `config/`, else CLIP's, which every published checkpoint was trained with; textual inversion may have added rows to the table. */
async function readTokenizer(
  { slot, pad }: EncoderFacts,
  weights: WeightFile,
  { configs, clipTokenizer, signal }: Context,
): Promise<TokenizerFiles> {
  if (configs !== undefined) return readTokenizerFiles(configs, slot === 1 ? 'tokenizer' : 'tokenizer_2', signal);
  const hint =
    'Put its tokenizer and configs in a folder "config" beside the file: config/model_index.json, config/tokenizer/vocab.json, config/tokenizer/merges.txt, ….';
  const rows = weights.find(TOKEN_TABLE)?.shape[0] ?? 0;
  if (rows < CLIP_VOCABULARY_SIZE) {
    const got = `${weights.name}: its text encoder knows ${rows} tokens, CLIP's vocabulary has ${CLIP_VOCABULARY_SIZE}.`;
    throw fail('missingModelFile', got, { hint });
  }
  if (clipTokenizer === undefined)
    throw fail('missingModelFile', `${weights.name} comes without a tokenizer.`, { hint });
  return readClipTokenizer(clipTokenizer, pad, signal);
}

async function readScheduler(found: Checkpoint, unet: unknown, context: Context): Promise<unknown> {
  const given = await readConfig(context, 'scheduler/scheduler_config.json');
  const asked = context.predictionType === undefined ? {} : { prediction_type: context.predictionType };
  if (given !== undefined) return { ...Object(given), ...asked };
  if (hasGuidanceEmbedding(unet)) return { ...LCM_SCHEDULER, ...asked };
  const prediction = context.predictionType ?? found.prediction ?? FAMILY_FACTS[found.family].prediction;
  const zeroSnr = found.zeroTerminalSnr ? ZERO_TERMINAL_SNR : {};
  return { ...FAMILY_SCHEDULERS[found.family][trainedAs(prediction)], ...zeroSnr, ...asked };
}

/** Which published form is the nearest; none predicts the sample. */
function trainedAs(prediction: PredictionType | 'sample'): PredictionType {
  return prediction === 'v_prediction' ? prediction : 'epsilon';
}

/** A latent consistency model's UNet. */
function hasGuidanceEmbedding(unet: unknown): boolean {
  return fields(unet, 'unet/config.json').has('time_cond_proj_dim');
}

function view({ name, tensors }: Context, layout: WeightLayout): WeightFile {
  return viewWeights(name, tensors, layout);
}

function shapesOf(weights: WeightFile): ShapeOf {
  return (internal) => weights.find(internal)?.shape;
}

/** The header is read already, so opening costs nothing. */
function component(weights: WeightFile, config: unknown): ComponentFiles {
  return { config, open: () => Promise.resolve(weights) };
}
