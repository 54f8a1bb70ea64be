/** @file A model folder made ready: configs parsed, tokenizer built, weight headers read, memory on the device owned here. */
import { readDiffusersFolder, type DiffusersFolder } from '../assets/diffusers-folder.js';
import type { FileTree } from '../assets/source.js';
import type { WeightFile } from '../assets/weights.js';
import type { ModelCard } from '../models/card.js';
import { parseAutoencoderKLConfig, type AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import { parseClipTextConfig, type ClipTextConfig } from '../models/configs/clip-text.js';
import { parseSchedulerConfig, type RawSchedulerConfig } from '../models/configs/scheduler.js';
import { parseUNetConfig, type UNetConfig } from '../models/configs/unet.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Model } from '../runtime/session.js';
import type { WeightBank } from '../runtime/weights.js';
import { createClipTokenizer, type ClipTokenizer } from '../text/clip-tokenizer.js';
import type { Progress } from './progress.js';
import { createSlot, type Slot } from './slot.js';

/** One network of a model: its weights, and the graph that is loaded at present. */
export interface Component {
  readonly file: WeightFile;
  /** The runnable graph for `key`; reports `load` with bytes the first time and `compile` for another size. */
  load(key: string, write: () => Graph, progress: Progress, signal?: AbortSignal): Promise<Model>;
  dispose(): Promise<void>;
}

/** An opened model. Whoever opened it must dispose it. */
export interface LoadedModel {
  readonly name: string;
  readonly card: ModelCard | undefined;
  readonly unet: Component & { readonly config: UNetConfig };
  readonly vae: Component & { readonly config: AutoencoderKLConfig };
  readonly textEncoder: Component & { readonly config: ClipTextConfig };
  readonly tokenizer: ClipTokenizer;
  readonly schedulerConfig: RawSchedulerConfig;
  dispose(): Promise<void>;
}

/** @throws missingModelFile, unsupportedModel, invalidModelConfig, invalidModelFile, downloadFailed, aborted */
export async function openModel(runtime: Runtime, tree: FileTree, signal?: AbortSignal): Promise<LoadedModel> {
  const folder = await readDiffusersFolder(tree, signal);
  const configs = parseConfigs(folder);
  const [unetFile, vaeFile, textFile] = await Promise.all([
    folder.openUnet(signal),
    folder.openVae(signal),
    folder.openTextEncoder(signal),
  ]);
  const unet = createComponent(runtime, unetFile);
  const vae = createComponent(runtime, vaeFile);
  const textEncoder = createComponent(runtime, textFile);
  return {
    name: folder.name,
    card: folder.card,
    unet: { ...unet, config: configs.unet },
    vae: { ...vae, config: configs.vae },
    textEncoder: { ...textEncoder, config: configs.textEncoder },
    tokenizer: createClipTokenizer(folder.tokenizer),
    schedulerConfig: parseSchedulerConfig(folder.configs.scheduler, `${folder.name}/scheduler/scheduler_config.json`),
    async dispose() {
      for (const component of [unet, vae, textEncoder]) await component.dispose();
      await runtime.flush();
    },
  };
}

function parseConfigs({ name, configs }: DiffusersFolder): {
  readonly unet: UNetConfig;
  readonly vae: AutoencoderKLConfig;
  readonly textEncoder: ClipTextConfig;
} {
  return {
    unet: parseUNetConfig(configs.unet, `${name}/unet/config.json`),
    vae: parseAutoencoderKLConfig(configs.vae, `${name}/vae/config.json`),
    textEncoder: parseClipTextConfig(configs.textEncoder, `${name}/text_encoder/config.json`),
  };
}

function createComponent(runtime: Runtime, file: WeightFile): Component {
  const bank: WeightBank = runtime.openBank(file);
  const slot: Slot = createSlot();
  let loadedOnce = false;
  return {
    file,
    load: (key, write, progress, signal) =>
      slot.get(key, () =>
        progress.stage(loadedOnce ? 'compile' : 'load', async () => {
          const graph = write();
          const total = weightBytes(graph, file);
          const onBytes = loadedOnce ? undefined : (count: number) => progress.bytes(count, total);
          const model = await bank.load(graph, { signal, onBytes });
          loadedOnce = true;
          return model;
        }),
      ),
    async dispose() {
      await slot.dispose();
      bank.dispose();
    },
  };
}

/** Bytes in the file of the weights that a graph reads. */
function weightBytes(graph: Graph, file: WeightFile): number {
  let total = 0;
  for (const name of graph.weights.flatMap((weight) => weight.tensors)) {
    const tensor = file.find(name);
    total += tensor === undefined ? 0 : tensor.end - tensor.start;
  }
  return total;
}
