/** @file Parts of a diffusers folder that all its kinds have: a network with its config, CLIP, JSON files, our card. */
import { fail } from '../base/errors.js';
import { parseCard, type ModelCard } from '../models/card.js';
import { CLIP_TEXT_LAYOUT } from '../models/layouts/diffusers.js';
import type { WeightLayout } from '../models/layouts/layout.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ComponentFiles, EncoderFiles } from './model-files.js';
import type { FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { readTokenizerFiles } from './tokenizer-files.js';
import { openWeights } from './weights.js';

/** Where a network is in a folder, and how its weights are named. */
export interface FolderPart {
  readonly folder: string;
  /** Of its files: `diffusion_pytorch_model`, or `model` for text encoders. */
  readonly stem: string;
  readonly layout: WeightLayout;
}

/** A network's config; its weights, in one file or in shards, are opened later. @throws missingModelFile, invalidModelConfig */
export async function readComponent(
  tree: FileTree,
  { folder, stem, layout }: FolderPart,
  signal?: AbortSignal,
): Promise<ComponentFiles> {
  const config = await readConfig(tree, `${folder}/config.json`, signal);
  return {
    config,
    open: (openSignal, onBytes) => openWeights(tree, folder, [stem], { layout, signal: openSignal, onBytes }),
  };
}

/** A CLIP text encoder and its tokenizer. @throws missingModelFile, invalidModelConfig */
export async function readClipEncoder(tree: FileTree, slot: 1 | 2, signal?: AbortSignal): Promise<EncoderFiles> {
  const folder = folderOf('text_encoder', slot);
  const [component, tokenizer] = await Promise.all([
    readComponent(tree, { folder, stem: 'model', layout: CLIP_TEXT_LAYOUT }, signal),
    readTokenizerFiles(tree, folderOf('tokenizer', slot), signal),
  ]);
  return { ...component, slot, tokenizer };
}

/** `text_encoder`, `text_encoder_2`. */
export function folderOf(part: 'text_encoder' | 'tokenizer', slot: 1 | 2): string {
  return slot === 1 ? part : `${part}_2`;
}

/** A JSON file that has to be there. @throws missingModelFile, invalidModelConfig */
export async function readConfig(tree: FileTree, path: string, signal?: AbortSignal): Promise<unknown> {
  const source = await tree.open(path, signal);
  if (source !== undefined) return readJson(source, CONFIG_LIMIT, signal);
  throw fail('missingModelFile', `${tree.name} has no ${path}.`, {
    hint: 'A model is given as a diffusers folder: model_index.json, unet/ or transformer/, vae/, text_encoder/, tokenizer/ and scheduler/.',
  });
}

/** `card.json`, which is ours and optional. @throws invalidModelConfig */
export async function readCard(tree: FileTree, signal?: AbortSignal): Promise<ModelCard | undefined> {
  const source = await openUnlessMarkup(tree, 'card.json', signal);
  return source && parseCard(await readJson(source, CONFIG_LIMIT, signal), source.name);
}
