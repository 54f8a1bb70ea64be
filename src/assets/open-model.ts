/** @file A model from wherever its files are: a diffusers folder, a checkpoint of one file, or a folder that holds just that. */
import { fail } from '../base/errors.js';
import { FAMILY_FACTS } from '../models/checkpoint-families.js';
import { detectFile, VAE_PREFIX } from '../models/detect.js';
import { detectFluxFile } from '../models/flux-file.js';
import { AUTOENCODER_LAYOUT, UNET_LAYOUT } from '../models/layouts/diffusers.js';
import { readDiffusersFolder } from './diffusers-folder.js';
import { readFluxFile, type FluxSingleFileOptions } from './flux-single-file.js';
import { unlessAborted, weightFilesOf } from './flux-parts.js';
import { openUnlessMarkup } from './file-kind.js';
import type { AnyModelFiles, Architecture, ComponentFiles, ModelFiles } from './model-files.js';
import { readSingleFile, vaeConfig, viewVae, type SingleFileOptions } from './single-file.js';
import type { ByteSource, FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { readVaeFolder } from './vae-files.js';
import { openTensorFile } from './weight-tensors.js';
import { viewWeights } from './weights.js';

export { openControlNetFiles } from './controlnet-files.js';

export type OpenModelOptions = SingleFileOptions & FluxSingleFileOptions;

/**
 * Everything of a model but its weights. A tree with model_index.json is a diffusers folder; else its one .safetensors file (over a URL,
 * which lists nothing: `NAME/NAME.safetensors`, or the URL itself) is a checkpoint, with its configs in `config/` where there are any.
 * @example const files = await openModelFiles(urlTree('https://example.org/dreams.safetensors', deps), { clipTokenizer });
 * @throws missingModelFile, unsupportedModel (says what the file is instead), invalidModelFile, pickleRefused, invalidModelConfig,
 *   downloadFailed, aborted
 */
export async function openModelFiles(tree: FileTree, options: OpenModelOptions = {}): Promise<AnyModelFiles> {
  const { signal } = options;
  const isFolder = tree.file === undefined && (await openUnlessMarkup(tree, 'model_index.json', signal)) !== undefined;
  if (isFolder) return readDiffusersFolder(tree, signal);
  const found = await findFile(tree, signal);
  if (found === undefined) return readDiffusersFolder(tree, signal); // says what a folder needs
  const file = await openTensorFile(found.source, signal);
  const flux = detectFluxFile(file.tensors);
  return flux === undefined ? readSingleFile(found.tree, file, options) : readFluxFile(found.tree, file, flux, options);
}

/** `files`, where only Stable Diffusion will do. @throws unsupportedModel */
export function stableDiffusion(files: AnyModelFiles): ModelFiles {
  if (files.architecture !== 'flux') return files;
  throw fail('unsupportedModel', `${files.name} is a FLUX.1 model; Stable Diffusion 1.x, 2.x or XL was expected.`, {
    parameter: 'model',
  });
}

/**
 * An autoencoder given by itself: a diffusers folder (its own, or the one in a model's), or one file with or without configs.
 * @param architecture of the model that it is for; nothing in a VAE file tells those of SD 1, 2 and XL apart
 * @throws as {@link openModelFiles}
 */
export async function openVaeFiles(
  tree: FileTree,
  architecture: Architecture,
  signal?: AbortSignal,
): Promise<ComponentFiles> {
  const paths = tree.file === undefined ? ['config.json', 'vae/config.json'] : [];
  for (const path of paths) {
    if ((await openUnlessMarkup(tree, path, signal)) !== undefined) return readVaeFolder(tree, signal);
  }
  const found = await findFile(tree, signal);
  if (found === undefined) return readVaeFolder(tree, signal); // says what a folder needs
  const { source } = found;
  const file = await openTensorFile(source, signal);
  const contents = detectFile(file);
  const isCheckpoint = contents.kind === 'checkpoint' && contents.hasVae;
  if (contents.kind !== 'vae' && !isCheckpoint) {
    const [what, hint] =
      contents.kind === 'checkpoint' ? ['a checkpoint without its VAE', ''] : [contents.what, contents.hint];
    throw fail('unsupportedModel', `${source.name} is ${what}, not a VAE.`, { parameter: 'vae', hint });
  }
  const { tensors } = file;
  const tiny = tensors.get(TINY_FIRST);
  if (tiny !== undefined) {
    const weights = viewWeights(file.name, tensors, UNET_LAYOUT); // its names are today's, as a UNet's are
    return { config: await tinyConfig(found.tree, tiny.shape, signal), open: () => Promise.resolve(weights) };
  }
  const isDiffusers = tensors.has('decoder.conv_norm_out.weight');
  const prefix = tensors.has(`${VAE_PREFIX}decoder.conv_in.weight`) ? VAE_PREFIX : '';
  const weights = isDiffusers ? viewWeights(file.name, tensors, AUTOENCODER_LAYOUT) : viewVae(file, prefix);
  const given = await openUnlessMarkup(
    found.tree,
    isCheckpoint ? 'config/vae/config.json' : 'config/config.json',
    signal,
  );
  const config =
    given === undefined ? vaeConfig(weights, scalingOf(architecture)) : await readJson(given, CONFIG_LIMIT, signal);
  return { config, open: () => Promise.resolve(weights) };
}

/** The first convolution of TAESD's decoder. */
const TINY_FIRST = 'decoder.layers.0.weight';

/** `config/config.json` beside the file, else the published form in the width of its first convolution. */
async function tinyConfig(tree: FileTree, [width = 64]: readonly number[], signal?: AbortSignal): Promise<unknown> {
  const given = await openUnlessMarkup(tree, 'config/config.json', signal);
  if (given !== undefined) return readJson(given, CONFIG_LIMIT, signal);
  return { _class_name: 'AutoencoderTiny', decoder_block_out_channels: Array<number>(4).fill(width) };
}

function scalingOf(architecture: Architecture): number {
  return Object.values(FAMILY_FACTS).find((facts) => facts.architecture === architecture)?.vaeScaling ?? 1;
}

interface Found {
  /** The folder that the file is in. */
  readonly tree: FileTree;
  readonly source: ByteSource;
}

/** The one weight file of a tree. @throws missingModelFile, unsupportedModel when there are several, pickleRefused */
async function findFile(tree: FileTree, signal: AbortSignal | undefined): Promise<Found | undefined> {
  if (tree.file !== undefined) {
    const source = await openUnlessMarkup(tree, tree.file, signal);
    if (source !== undefined) return { tree, source };
    throw fail('missingModelFile', `${tree.name} has no ${tree.file}, or only a web page of that name.`, {
      parameter: 'model',
    });
  }
  const listed = await tree.list?.(signal);
  const name = lastSegment(tree.name);
  const path = listed === undefined ? `${name}.safetensors` : await chooseFile(listed, name, { tree, signal });
  const source = path === undefined ? undefined : await openUnlessMarkup(tree, path, signal);
  if (source !== undefined) return { tree, source };
  const { asFile } = tree;
  const itself = asFile?.file === undefined ? undefined : await openUnlessMarkup(asFile, asFile.file, signal);
  return asFile === undefined || itself === undefined ? undefined : { tree: asFile, source: itself };
}

/** The last folder of a path or URL; a query cannot be in it. */
function lastSegment(name: string): string {
  return name.replace(/\/+$/, '').replace(/^.*\//s, '');
}

const WEIGHTS = /\.(safetensors|gguf)$/i;
const PICKLE = /\.(ckpt|pth?|bin)$/i;

interface Place {
  readonly tree: FileTree;
  readonly signal: AbortSignal | undefined;
}

/**
 * Among files that are in no folder: the one named like the tree, the only one, or the only one that is a model, beside files of parts; a pickle
 * where there is nothing else, to be refused.
 */
async function chooseFile(paths: readonly string[], name: string, place: Place): Promise<string | undefined> {
  const here = paths.filter((path) => !path.includes('/'));
  const weights = here.filter((path) => WEIGHTS.test(path));
  const named = weights.find((path) => path.toLowerCase() === `${name}.safetensors`.toLowerCase());
  if (named !== undefined || weights.length === 1) return named ?? weights[0];
  if (weights.length === 0) return here.find((path) => PICKLE.test(path));
  const models = await modelsAmong(weightFilesOf(weights), place);
  if (models.length === 1) return models[0];
  const some = weights.slice(0, 5).join(', ') + (weights.length > 5 ? ', …' : '');
  const count = models.length === 0 ? '' : `, ${models.length} of them models`;
  throw fail(
    'unsupportedModel',
    `${place.tree.name} holds ${weights.length} .safetensors or .gguf files (${some})${count}; one model was expected.`,
    { parameter: 'model', hint: 'Give the one file, or a diffusers folder with its model_index.json.' },
  );
}

/** Those that are whole models, or FLUX.1's transformer; what cannot be read is none. */
async function modelsAmong(paths: readonly string[], { tree, signal }: Place): Promise<readonly string[]> {
  const models: string[] = [];
  for (const path of paths) {
    const source = await openUnlessMarkup(tree, path, signal);
    const file = source && (await openTensorFile(source, signal).catch(unlessAborted));
    if (file === undefined) continue;
    if (detectFluxFile(file.tensors) !== undefined || detectFile(file).kind === 'checkpoint') models.push(path);
  }
  return models;
}
