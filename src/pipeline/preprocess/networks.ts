/** @file The networks of preprocessors: under which names a page registers them, where public copies are, and opening their files. */
import { openUnlessMarkup } from '../../assets/file-kind.js';
import { CONFIG_LIMIT, readJson } from '../../assets/text-file.js';
import { openWhole } from '../../assets/weight-tensors.js';
import { openWeights, viewWeights, type WeightFile } from '../../assets/weights.js';
import { DarkroomError, fail } from '../../base/errors.js';
import { sameShape, type WeightLayout } from '../../models/layouts/layout.js';
import type { Graph } from '../../onnx/types.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Model } from '../../runtime/session.js';
import type { ModelTree, OpenTree } from '../library.js';
import type { PreprocessContext } from './run.js';

/** A network of a preprocessor. */
export interface Network {
  /** What `registerModel` takes to use other files. */
  readonly reference: string;
  /** For people: what it is. */
  readonly what: string;
  /** A public repo with safetensors files, used where nothing is registered. */
  readonly hub?: string;
  /** The published file is a pickle that has to be converted once; its name without ending, and where it is. */
  readonly published?: { readonly stem: string; readonly repo: string };
}

export const DEPTH: Network = {
  reference: 'darkroom:depth@1',
  what: 'Depth Anything V2 Small',
  hub: 'huggingface:depth-anything/Depth-Anything-V2-Small-hf',
};
export const POSE: Network = {
  reference: 'darkroom:openpose@1',
  what: 'ViTPose base',
  hub: 'huggingface:usyd-community/vitpose-base-simple',
};
export const SOFTEDGE: Network = {
  reference: 'darkroom:softedge@1',
  what: 'ControlNetHED',
  published: { stem: 'ControlNetHED', repo: 'lllyasviel/Annotators' },
};
export const LINEART: Network = {
  reference: 'darkroom:lineart@1',
  what: 'the line drawing generator',
  published: { stem: 'sk_model', repo: 'lllyasviel/Annotators' },
};
export const LINEART_ANIME: Network = {
  reference: 'darkroom:lineart-anime@1',
  what: 'the anime line drawing UNet',
  published: { stem: 'netG', repo: 'lllyasviel/Annotators' },
};

/** What runs of networks need. */
export interface NeuralContext extends PreprocessContext {
  readonly runtime: Runtime;
  readonly openTree: OpenTree;
}

/** Opened files of a network. */
export interface NetworkFiles {
  readonly name: string;
  readonly weights: WeightFile;
  /** A JSON file beside the weights; undefined where there is none. */
  json(path: string): Promise<unknown>;
}

/** Names as published; checkpoints saved from a parallel model put `module.` before each. */
const PUBLISHED: WeightLayout = {
  places: (name) => [{ name }, { name: `module.${name}` }],
  shape: sameShape,
};

/** @throws modelNotFound saying how to register the network; what opening files throws */
export async function openNetwork(network: Network, { openTree, signal }: NeuralContext): Promise<NetworkFiles> {
  const tree = treeOf(network, openTree);
  const stems = ['model', ...(network.published === undefined ? [] : [network.published.stem])];
  const weights = await openFile(tree, stems, signal);
  return {
    name: tree.name,
    weights,
    async json(path) {
      const source = tree.file === undefined ? await openUnlessMarkup(tree, path, signal) : undefined;
      return source && readJson(source, CONFIG_LIMIT, signal);
    },
  };
}

/** What is registered, else the public copy. */
function treeOf(network: Network, openTree: OpenTree): ModelTree {
  try {
    return openTree(network.reference);
  } catch (error) {
    if (!(error instanceof DarkroomError) || error.code !== 'modelNotFound') throw error;
    if (network.hub !== undefined) return openTree(network.hub);
    throw notRegistered(network, error);
  }
}

function notRegistered({ reference, what, published }: Network, cause: unknown): Error {
  const file = published === undefined ? '' : `${published.stem}.safetensors`;
  return fail('modelNotFound', `This preprocessor needs ${what}, and no model is registered as "${reference}".`, {
    parameter: 'preProcessorType',
    type: 'string',
    hint:
      `No public safetensors copy is known: convert ${published?.stem}.pth of ${published?.repo} once to ${file} ` +
      `(docs/guide/preprocessors.md says how), then registerModel({ air: '${reference}', source }).`,
    cause,
  });
}

/** The one weight file of a tree: named outright, the only one of a list, or under a usual name. */
async function openFile(
  tree: ModelTree,
  stems: readonly string[],
  signal: AbortSignal | undefined,
): Promise<WeightFile> {
  const listed = (await tree.list?.(signal))?.filter((path) => /\.safetensors$/i.test(path)) ?? [];
  const path = tree.file ?? (listed.length === 1 ? listed[0] : undefined);
  const found = path === undefined ? undefined : await openOne(tree, path, signal);
  if (found !== undefined) return found;
  try {
    return await openWeights(tree, '', stems, { layout: PUBLISHED, signal });
  } catch (error) {
    const { asFile } = tree;
    if (asFile?.file === undefined || !(error instanceof DarkroomError) || error.code !== 'missingModelFile')
      throw error;
    const itself = await openOne(asFile, asFile.file, signal);
    if (itself === undefined) throw error;
    return itself;
  }
}

async function openOne(
  tree: Pick<ModelTree, 'name' | 'open'>,
  path: string,
  signal: AbortSignal | undefined,
): Promise<WeightFile | undefined> {
  const source = await openUnlessMarkup(tree, path, signal);
  return source && viewWeights(source.name, await openWhole(source, signal), PUBLISHED);
}

/**
 * `work` with the graph as a runnable model; weights and session are freed afterwards. What ONNX Runtime keeps of a run stays with the
 * device (docs/memory.md).
 * @throws missingWeight, invalidModelFile, runtimeFailed, outOfMemory, deviceLost, aborted
 */
export async function withModel<T>(
  { runtime, signal, onProgress }: NeuralContext,
  weights: WeightFile,
  graph: Graph,
  work: (model: Model) => Promise<T>,
): Promise<T> {
  const totalBytes = graph.weights
    .flatMap(({ tensors }) => tensors)
    .reduce((sum, name) => sum + bytesOf(weights, name), 0);
  let bytes = 0;
  onProgress?.({ stage: 'load', bytes, totalBytes });
  const onBytes = (count: number): void => onProgress?.({ stage: 'load', bytes: (bytes += count), totalBytes });
  const bank = runtime.openBank(weights);
  try {
    const model = await bank.load(graph, { signal, onBytes });
    onProgress?.({ stage: 'run' });
    return await work(model).finally(() => model.dispose());
  } finally {
    bank.dispose();
    await runtime.flush().catch(() => undefined); // a lost device frees by itself
  }
}

function bytesOf(weights: WeightFile, name: string): number {
  const tensor = weights.find(name);
  return tensor === undefined ? 0 : tensor.end - tensor.start;
}

/** The names and shapes of the weights, without the prefix of parallel models. */
export function shapesOf({ tensors }: WeightFile): ReadonlyMap<string, { readonly shape: readonly number[] }> {
  return new Map([...tensors].map(([name, tensor]) => [name.replace(/^module\./, ''), tensor]));
}
