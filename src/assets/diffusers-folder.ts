/** @file A diffusers model folder: finds its parts, checks what it is, returns configs unparsed. Knows Stable Diffusion 1.x and 2.x. */
import { fail } from '../base/errors.js';
import { parseCard, type ModelCard } from '../models/card.js';
import { AUTOENCODER_LAYOUT, CLIP_TEXT_LAYOUT, UNET_LAYOUT, type WeightLayout } from '../models/weight-names.js';
import { openUnlessMarkup } from './file-kind.js';
import { parseModelIndex, type ModelIndex } from './model-index.js';
import type { FileTree, OnBytes } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.js';
import { openWeights, type WeightFile } from './weights.js';

/** Opens one component's weights: reads headers, no tensors. */
export type OpenWeights = (signal?: AbortSignal, onBytes?: OnBytes) => Promise<WeightFile>;

export interface DiffusersFolder {
  /** For messages: the folder's name or URL. */
  readonly name: string;
  readonly index: ModelIndex;
  /** `card.json`, which is ours and optional. */
  readonly card: ModelCard | undefined;
  /** As JSON; the parsers are in `models/configs/`. */
  readonly configs: {
    readonly unet: unknown;
    readonly vae: unknown;
    readonly textEncoder: unknown;
    readonly scheduler: unknown;
  };
  readonly tokenizer: TokenizerFiles;
  readonly openUnet: OpenWeights;
  readonly openVae: OpenWeights;
  readonly openTextEncoder: OpenWeights;
}

/**
 * Reads everything of a folder but its weights.
 * @throws missingModelFile naming the path, unsupportedModel (another pipeline), invalidModelConfig, downloadFailed, aborted
 */
export async function readDiffusersFolder(tree: FileTree, signal?: AbortSignal): Promise<DiffusersFolder> {
  const index = parseModelIndex(await readConfig(tree, 'model_index.json', signal), `${tree.name}/model_index.json`);
  const [unet, vae, textEncoder, scheduler, tokenizer, card] = await Promise.all([
    readConfig(tree, 'unet/config.json', signal),
    readConfig(tree, 'vae/config.json', signal),
    readConfig(tree, 'text_encoder/config.json', signal),
    readConfig(tree, 'scheduler/scheduler_config.json', signal),
    readTokenizerFiles(tree, 'tokenizer', signal),
    readCard(tree, signal),
  ]);
  return {
    name: tree.name,
    index,
    card,
    configs: { unet, vae, textEncoder, scheduler },
    tokenizer,
    openUnet: opener(tree, 'unet', 'diffusion_pytorch_model', UNET_LAYOUT),
    openVae: opener(tree, 'vae', 'diffusion_pytorch_model', AUTOENCODER_LAYOUT),
    openTextEncoder: opener(tree, 'text_encoder', 'model', CLIP_TEXT_LAYOUT),
  };
}

function opener(tree: FileTree, folder: string, stem: string, layout: WeightLayout): OpenWeights {
  return (signal, onBytes) => openWeights(tree, folder, [stem], { layout, signal, onBytes });
}

async function readConfig(tree: FileTree, path: string, signal?: AbortSignal): Promise<unknown> {
  const source = await tree.open(path, signal);
  if (source !== undefined) return readJson(source, CONFIG_LIMIT, signal);
  throw fail('missingModelFile', `${tree.name} has no ${path}.`, {
    hint: 'A model is given as a diffusers folder: model_index.json, unet/, vae/, text_encoder/, tokenizer/ and scheduler/.',
  });
}

async function readCard(tree: FileTree, signal?: AbortSignal): Promise<ModelCard | undefined> {
  const source = await openUnlessMarkup(tree, 'card.json', signal);
  return source && parseCard(await readJson(source, CONFIG_LIMIT, signal), source.name);
}
