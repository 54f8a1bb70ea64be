/** @file A diffusers model folder: finds its parts, checks what it is, returns configs unparsed. Knows Stable Diffusion 1.x, 2.x, XL and the XL refiner. */
import { fail } from '../base/errors.js';
import { parseCard, type ModelCard } from '../models/card.js';
import { AUTOENCODER_LAYOUT, CLIP_TEXT_LAYOUT, UNET_LAYOUT } from '../models/layouts/diffusers.js';
import type { WeightLayout } from '../models/layouts/layout.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ComponentFiles, EncoderFiles, ModelFiles } from './model-files.js';
import { parseModelIndex } from './model-index.js';
import type { FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { readTokenizerFiles } from './tokenizer-files.js';
import { openWeights } from './weights.js';

/**
 * Reads everything of a folder but its weights.
 * @throws missingModelFile naming the path, unsupportedModel (another pipeline), invalidModelConfig, downloadFailed, aborted
 */
export async function readDiffusersFolder(tree: FileTree, signal?: AbortSignal): Promise<ModelFiles> {
  const index = parseModelIndex(await readConfig(tree, 'model_index.json', signal), `${tree.name}/model_index.json`);
  const slots = ([1, 2] as const).filter((slot) => index.components.has(folderOf('text_encoder', slot)));
  const [unet, vae, encoders, scheduler, card] = await Promise.all([
    readComponent(tree, 'unet', 'diffusion_pytorch_model', UNET_LAYOUT, signal),
    readComponent(tree, 'vae', 'diffusion_pytorch_model', AUTOENCODER_LAYOUT, signal),
    Promise.all(slots.map((slot) => readEncoder(tree, slot, signal))),
    readConfig(tree, 'scheduler/scheduler_config.json', signal),
    readCard(tree, signal),
  ]);
  const { architecture, forceZerosForEmptyPrompt, requiresAestheticsScore } = index;
  return {
    name: tree.name,
    architecture,
    card,
    unet,
    vae,
    encoders,
    scheduler,
    forceZerosForEmptyPrompt,
    requiresAestheticsScore,
  };
}

/** `text_encoder`, `text_encoder_2`. */
function folderOf(part: 'text_encoder' | 'tokenizer', slot: 1 | 2): string {
  return slot === 1 ? part : `${part}_2`;
}

async function readComponent(
  tree: FileTree,
  folder: string,
  stem: string,
  layout: WeightLayout,
  signal?: AbortSignal,
): Promise<ComponentFiles> {
  const config = await readConfig(tree, `${folder}/config.json`, signal);
  return {
    config,
    open: (openSignal, onBytes) => openWeights(tree, folder, [stem], { layout, signal: openSignal, onBytes }),
  };
}

async function readEncoder(tree: FileTree, slot: 1 | 2, signal?: AbortSignal): Promise<EncoderFiles> {
  const [component, tokenizer] = await Promise.all([
    readComponent(tree, folderOf('text_encoder', slot), 'model', CLIP_TEXT_LAYOUT, signal),
    readTokenizerFiles(tree, folderOf('tokenizer', slot), signal),
  ]);
  return { ...component, slot, tokenizer };
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
