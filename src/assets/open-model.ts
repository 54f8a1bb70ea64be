/** @file A model from wherever its files are: a diffusers folder, a checkpoint of one file, or a folder that holds just that. */
import { fail } from '../base/errors.js';
import { FAMILY_FACTS } from '../models/checkpoint-families.js';
import { detectFile, VAE_PREFIX } from '../models/detect.js';
import { AUTOENCODER_LAYOUT, UNET_LAYOUT } from '../models/layouts/diffusers.js';
import { readDiffusersFolder } from './diffusers-folder.js';
import { openUnlessMarkup } from './file-kind.js';
import type { Architecture, ComponentFiles, ModelFiles } from './model-files.js';
import { openSafetensors } from './safetensors.js';
import { readSingleFile, vaeConfig, viewVae, type SingleFileOptions } from './single-file.js';
import type { ByteSource, FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { readVaeFolder } from './vae-files.js';
import { viewWeights } from './weights.js';

export { openControlNetFiles } from './controlnet-files.js';

export type OpenModelOptions = SingleFileOptions;

/**
 * Everything of a model but its weights. A tree with model_index.json is a diffusers folder; else its one .safetensors file (over a URL,
 * which lists nothing: `NAME/NAME.safetensors`, or the URL itself) is a checkpoint, with its configs in `config/` where there are any.
 * @example const files = await openModelFiles(urlTree('https://example.org/dreams.safetensors', deps), { clipTokenizer });
 * @throws missingModelFile, unsupportedModel (says what the file is instead), invalidModelFile, pickleRefused, invalidModelConfig,
 *   downloadFailed, aborted
 */
export async function openModelFiles(tree: FileTree, options: OpenModelOptions = {}): Promise<ModelFiles> {
  const { signal } = options;
  const isFolder = tree.file === undefined && (await openUnlessMarkup(tree, 'model_index.json', signal)) !== undefined;
  if (isFolder) return readDiffusersFolder(tree, signal);
  const found = await findFile(tree, signal);
  if (found !== undefined) return readSingleFile(found.tree, found.source, options);
  return readDiffusersFolder(tree, signal); // says what a folder needs
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
  const { tensors: infos, metadata } = await openSafetensors(source, signal);
  const contents = detectFile({ tensors: infos, metadata });
  const isCheckpoint = contents.kind === 'checkpoint' && contents.hasVae;
  if (contents.kind !== 'vae' && !isCheckpoint) {
    const [what, hint] =
      contents.kind === 'checkpoint' ? ['a checkpoint without its VAE', ''] : [contents.what, contents.hint];
    throw fail('unsupportedModel', `${source.name} is ${what}, not a VAE.`, { parameter: 'vae', hint });
  }
  const file = { name: source.name, tensors: new Map([...infos].map(([name, info]) => [name, { ...info, source }])) };
  const tiny = infos.get(TINY_FIRST);
  if (tiny !== undefined) {
    const weights = viewWeights(file.name, file.tensors, UNET_LAYOUT); // its names are today's, as a UNet's are
    return { config: await tinyConfig(found.tree, tiny.shape, signal), open: () => Promise.resolve(weights) };
  }
  const isDiffusers = infos.has('decoder.conv_norm_out.weight');
  const prefix = infos.has(`${VAE_PREFIX}decoder.conv_in.weight`) ? VAE_PREFIX : '';
  const weights = isDiffusers ? viewWeights(file.name, file.tensors, AUTOENCODER_LAYOUT) : viewVae(file, prefix);
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
  const path = listed === undefined ? `${name}.safetensors` : chooseFile(listed, name, tree);
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

const PICKLE = /\.(ckpt|pth?|bin|gguf)$/i;

/** Among files that are in no folder: the one named like the tree, or the only one; a pickle where there is nothing else, to be refused. */
function chooseFile(paths: readonly string[], name: string, tree: FileTree): string | undefined {
  const here = paths.filter((path) => !path.includes('/'));
  const weights = here.filter((path) => /\.safetensors$/i.test(path));
  const named = weights.find((path) => path.toLowerCase() === `${name}.safetensors`.toLowerCase());
  if (named !== undefined || weights.length === 1) return named ?? weights[0];
  if (weights.length === 0) return here.find((path) => PICKLE.test(path));
  const some = weights.slice(0, 5).join(', ') + (weights.length > 5 ? ', …' : '');
  throw fail(
    'unsupportedModel',
    `${tree.name} holds ${weights.length} .safetensors files (${some}); one was expected.`,
    {
      parameter: 'model',
      hint: 'Give the one file, or a diffusers folder with its model_index.json.',
    },
  );
}
