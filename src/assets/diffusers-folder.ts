/**
 * @file A diffusers model folder: finds its parts, checks what it is, returns configs unparsed. Knows Stable Diffusion 1.x, 2.x, XL and the
 * XL refiner, and FLUX.1.
 */
import { AUTOENCODER_LAYOUT, UNET_LAYOUT } from '../models/layouts/diffusers.js';
import { T5_LAYOUT } from '../models/layouts/t5.js';
import { folderOf, readCard, readClipEncoder, readComponent, readConfig } from './folder-parts.js';
import type { AnyModelFiles, FluxFiles, ModelFiles } from './model-files.js';
import { parseModelIndex, type ModelIndex } from './model-index.js';
import type { FileTree } from './source.js';
import { readTokenizerFiles } from './tokenizer-files.js';

const DIFFUSION_STEM = 'diffusion_pytorch_model';
const VAE = { folder: 'vae', stem: DIFFUSION_STEM, layout: AUTOENCODER_LAYOUT } as const;

/**
 * Reads everything of a folder but its weights.
 * @throws missingModelFile naming the path, unsupportedModel (another pipeline), invalidModelConfig, downloadFailed, aborted
 */
export async function readDiffusersFolder(tree: FileTree, signal?: AbortSignal): Promise<AnyModelFiles> {
  const index = parseModelIndex(await readConfig(tree, 'model_index.json', signal), `${tree.name}/model_index.json`);
  const { architecture } = index;
  return architecture === 'flux'
    ? readFlux(tree, signal)
    : readStableDiffusion(tree, { ...index, architecture }, signal);
}

async function readStableDiffusion(
  tree: FileTree,
  { architecture, components, forceZerosForEmptyPrompt, requiresAestheticsScore }: StableDiffusionIndex,
  signal?: AbortSignal,
): Promise<ModelFiles> {
  const slots = ([1, 2] as const).filter((slot) => components.has(folderOf('text_encoder', slot)));
  const [unet, vae, encoders, scheduler, card] = await Promise.all([
    readComponent(tree, { folder: 'unet', stem: DIFFUSION_STEM, layout: UNET_LAYOUT }, signal),
    readComponent(tree, VAE, signal),
    Promise.all(slots.map((slot) => readClipEncoder(tree, slot, signal))),
    readConfig(tree, 'scheduler/scheduler_config.json', signal),
    readCard(tree, signal),
  ]);
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

async function readFlux(tree: FileTree, signal?: AbortSignal): Promise<FluxFiles> {
  const [transformer, clip, t5, t5Tokenizer, vae, scheduler, card] = await Promise.all([
    // its names are today's, as a UNet's are
    readComponent(tree, { folder: 'transformer', stem: DIFFUSION_STEM, layout: UNET_LAYOUT }, signal),
    readClipEncoder(tree, 1, signal),
    readComponent(tree, { folder: 'text_encoder_2', stem: 'model', layout: T5_LAYOUT }, signal),
    readTokenizerFiles(tree, 'tokenizer_2', signal),
    readComponent(tree, VAE, signal),
    readConfig(tree, 'scheduler/scheduler_config.json', signal),
    readCard(tree, signal),
  ]);
  return {
    name: tree.name,
    architecture: 'flux',
    card,
    transformer,
    clip,
    t5: { ...t5, tokenizer: t5Tokenizer },
    vae,
    scheduler,
  };
}

type StableDiffusionIndex = ModelIndex & { readonly architecture: ModelFiles['architecture'] };
