/**
 * @file Where the parts of a FLUX.1 model may be that its transformer does not have: in the same file, in files beside it, in other models. A part
 * from a file gets its config from its shapes, one from a diffusers folder from there.
 */
import { DarkroomError } from '../base/errors.js';
import { clipTextConfig } from '../models/configs-from-shapes.js';
import { t5Config } from '../models/flux-configs-from-shapes.js';
import { FLUX_CLIP, FLUX_VAE } from '../models/flux-facts.js';
import { detectFluxParts, type FluxPart } from '../models/flux-file.js';
import { AUTOENCODER_LAYOUT, CLIP_TEXT_LAYOUT } from '../models/layouts/diffusers.js';
import { withPrefix, type WeightLayout } from '../models/layouts/layout.js';
import { T5_LAYOUT } from '../models/layouts/t5.js';
import { readOptionalJson } from './beside-file.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ComponentFiles } from './model-files.js';
import { vaeConfig, viewVae } from './single-file.js';
import type { FileTree } from './source.js';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.js';
import { openTensorFile, type TensorFile } from './weight-tensors.js';
import { openWeights, viewWeights, type WeightFile } from './weights.js';

/** What the transformer reads and makes: by these, parts of other models are told from its own. */
export interface PartWidths {
  /** Of the pooled text. */
  readonly clip: number;
  /** Of the text states. */
  readonly t5: number;
  /** Channels of the latents. */
  readonly vae: number;
}

/** Something that may have parts. What it does not have, or has in another width, is `undefined`. */
export interface PartSource {
  /** For messages. */
  readonly name: string;
  component(part: FluxPart, widths: PartWidths, signal?: AbortSignal): Promise<ComponentFiles | undefined>;
  tokenizer(part: TokenizedPart, signal?: AbortSignal): Promise<TokenizerFiles | undefined>;
}

export type TokenizedPart = Exclude<FluxPart, 'vae'>;

const FOLDERS = {
  clip: { folder: 'text_encoder', stem: 'model', layout: CLIP_TEXT_LAYOUT },
  t5: { folder: 'text_encoder_2', stem: 'model', layout: T5_LAYOUT },
  vae: { folder: 'vae', stem: 'diffusion_pytorch_model', layout: AUTOENCODER_LAYOUT },
} as const satisfies Readonly<Record<FluxPart, { folder: string; stem: string; layout: WeightLayout }>>;

export const TOKENIZER_FOLDERS = { clip: 'tokenizer', t5: 'tokenizer_2' } as const;

/** A diffusers folder of a FLUX.1 model. Its parts' widths are checked by whoever parses their configs. */
export function folderSource(tree: FileTree): PartSource {
  return {
    name: tree.name,
    async component(part, _widths, signal) {
      const { folder, stem, layout } = FOLDERS[part];
      const config = await readOptionalJson(tree, `${folder}/config.json`, signal);
      if (config === undefined) return undefined;
      const open: ComponentFiles['open'] = (openSignal, onBytes) =>
        openWeights(tree, folder, [stem], { layout, signal: openSignal, onBytes });
      return { config, open };
    },
    tokenizer: (part, signal) => readTokenizer(tree, TOKENIZER_FOLDERS[part], signal),
  };
}

/** The tokenizer in `folder` of a tree, where there is one. @throws invalidModelConfig, downloadFailed, aborted */
export async function readTokenizer(
  tree: FileTree,
  folder: string,
  signal?: AbortSignal,
): Promise<TokenizerFiles | undefined> {
  for (const file of ['merges.txt', 'tokenizer.json']) {
    const found = await openUnlessMarkup(tree, `${folder}/${file}`, signal);
    if (found !== undefined) return readTokenizerFiles(tree, folder, signal);
  }
  return undefined;
}

/** One file: the parts in it, in the original code's names or in diffusers'. @param configs beats what shapes tell */
export function fileSource(file: TensorFile, configs?: FileTree): PartSource {
  return {
    name: file.name,
    async component(part, widths, signal) {
      const prefix = detectFluxParts(file.tensors)[part];
      if (prefix === undefined) return undefined;
      const weights = view(file, part, prefix);
      if (widthOf(weights, part) !== widths[part]) return undefined;
      const given = await readOptionalJson(configs, `${FOLDERS[part].folder}/config.json`, signal);
      return { config: given ?? configOf(weights, part), open: () => Promise.resolve(weights) };
    },
    tokenizer: () => Promise.resolve(undefined),
  };
}

function view(file: TensorFile, part: FluxPart, prefix: string): WeightFile {
  const isLdm = part === 'vae' && !file.tensors.has(`${prefix}decoder.conv_norm_out.weight`);
  return isLdm ? viewVae(file, prefix) : viewWeights(file.name, file.tensors, withPrefix(prefix, FOLDERS[part].layout));
}

/** The size that the transformer shares with a part. */
function widthOf(weights: WeightFile, part: FluxPart): number | undefined {
  switch (part) {
    case 'clip':
      return weights.find('text_model.embeddings.token_embedding.weight')?.shape[1];
    case 't5':
      return weights.find('shared.weight')?.shape[1];
    case 'vae':
      return weights.find('decoder.conv_in.weight')?.shape[1];
    default:
      return part satisfies never;
  }
}

function configOf(weights: WeightFile, part: FluxPart): unknown {
  const shapeOf = (internal: string): readonly number[] | undefined => weights.find(internal)?.shape;
  switch (part) {
    case 'clip':
      return clipTextConfig(shapeOf, FLUX_CLIP, `${weights.name}: CLIP`);
    case 't5':
      return t5Config(shapeOf, `${weights.name}: T5`);
    case 'vae':
      return { ...Object(vaeConfig(weights, FLUX_VAE.scaling_factor)), ...FLUX_VAE };
    default:
      return part satisfies never;
  }
}

/** More weight files beside a model than anybody has of its parts; a folder of whole checkpoints is not searched. */
const MAX_FILES = 16;

/** All that a tree may have: a diffusers folder, or files. Looked into when it is first asked. */
export function treeSource(tree: FileTree): PartSource {
  const sources = once((signal?: AbortSignal) => sourcesOf(tree, signal));
  const first = async <T>(
    ask: (source: PartSource) => Promise<T | undefined>,
    signal?: AbortSignal,
  ): Promise<T | undefined> => {
    for (const source of await sources(signal)) {
      const found = await ask(source);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    name: tree.name,
    component: (part, widths, signal) => first((source) => source.component(part, widths, signal), signal),
    tokenizer: (part, signal) => first((source) => source.tokenizer(part, signal), signal),
  };
}

async function sourcesOf(tree: FileTree, signal: AbortSignal | undefined): Promise<readonly PartSource[]> {
  if ((await openUnlessMarkup(tree, 'model_index.json', signal)) !== undefined) return [folderSource(tree)];
  const inFolder = tree.file === undefined && tree.list === undefined ? tree.asFile : tree;
  if (inFolder === undefined) return [];
  const listed = (await inFolder.list?.(signal)) ?? [];
  const files =
    inFolder.file === undefined
      ? await Promise.all(weightFilesOf(listed).map((path) => openFile(inFolder, path, signal).catch(unlessAborted)))
      : [await openFile(inFolder, inFolder.file, signal)];
  return [...files.flatMap((file) => (file === undefined ? [] : [fileSource(file)])), folderSource(inFolder)];
}

/** The weight files of a list that are in no folder; none where there are too many to look into. */
export function weightFilesOf(paths: readonly string[]): readonly string[] {
  const here = paths.filter((path) => /^[^/]+\.(safetensors|gguf)$/i.test(path));
  return here.length > MAX_FILES ? [] : here;
}

async function openFile(tree: FileTree, path: string, signal?: AbortSignal): Promise<TensorFile | undefined> {
  const source = await openUnlessMarkup(tree, path, signal);
  return source && openTensorFile(source, signal);
}

/** What cannot be read is no part; beside a model, much may lie. */
export function unlessAborted(error: unknown): undefined {
  if (error instanceof DarkroomError && error.code !== 'aborted') return undefined;
  throw error;
}

/** `make`, called once; again only when it failed. */
function once<T>(make: (signal?: AbortSignal) => Promise<T>): (signal?: AbortSignal) => Promise<T> {
  let made: Promise<T> | undefined;
  return async (signal) => {
    made ??= make(signal);
    try {
      return await made;
    } catch (error) {
      made = undefined;
      throw error;
    }
  };
}
