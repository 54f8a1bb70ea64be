/** @file The models that are open: those of the last task stay, so that the next picture starts at once; others are freed. */
import { openModelFiles, openVaeFiles } from '../assets/open-model.js';
import type { FileTree } from '../assets/source.js';
import { fail } from '../base/errors.js';
import { parseVaeConfig } from '../models/configs/vae.js';
import { describeFiles } from '../models/describe.js';
import type { ResolvedModel, Wanted } from '../models/registry.js';
import type { ImageInferenceTask } from '../request/task.js';
import type { Runtime } from '../runtime/runtime.js';
import { createComponent } from './component.js';
import type { PlanModels } from './generate.js';
import { openModel, type LoadedModel, type Vae } from './model.js';
import { describe } from './plan.js';

/** A model's files, and what the registry says of it. */
export interface ModelTree extends FileTree {
  readonly about?: ResolvedModel;
  /** CLIP's published `merges.txt`, for checkpoints of one file, which have no tokenizer. */
  readonly clipTokenizer?: FileTree;
}

/** The files of a model that a task names. @throws invalidModel, modelNotFound, unsupportedModel */
export type OpenTree = (model: string, wanted?: Wanted) => ModelTree;

/** The models of a task, and what the registry has to say about them. */
export interface OpenModels extends PlanModels {
  readonly warnings: readonly string[];
}

export interface Library {
  /** Opens what a task names, after freeing what it does not. Weights are read when a network is first needed. */
  open(runtime: Runtime, task: ImageInferenceTask, signal: AbortSignal | undefined): Promise<OpenModels>;
  /** Takes all networks off the device; the models stay open. */
  free(): Promise<void>;
  /** Closes everything. */
  clear(): Promise<void>;
}

/** Something that was opened under a key, and must be disposed. */
type Shelf<T> = Map<string, T>;

export function createLibrary(openTree: OpenTree): Library {
  const models: Shelf<LoadedModel> = new Map();
  const vaes: Shelf<Vae> = new Map();

  const getModel = async (runtime: Runtime, tree: NamedTree, signal: AbortSignal | undefined): Promise<LoadedModel> => {
    const known = models.get(tree.key);
    if (known !== undefined) return known;
    const { about, clipTokenizer } = tree;
    const predictionType = about?.overrides.prediction;
    const options = { signal, clipTokenizer, ...(predictionType === 'sample' ? {} : { predictionType }) };
    const files = await openModelFiles(tree, options);
    const model = await openModel(runtime, about === undefined ? files : describeFiles(files, about), signal);
    models.set(tree.key, model);
    return model;
  };

  const getVae = async (
    runtime: Runtime,
    tree: NamedTree,
    base: LoadedModel,
    signal: AbortSignal | undefined,
  ): Promise<Vae> => {
    // The same file may stand for autoencoders of different scaling: nothing in it tells SD's from SDXL's.
    const key = `${tree.key} for ${base.architecture}`;
    const known = vaes.get(key);
    if (known !== undefined) return known;
    const files = await openVaeFiles(tree, base.architecture, signal);
    const config = parseVaeConfig(files.config, `${tree.name}/config.json`);
    const vae = { ...createComponent(runtime, await files.open(signal)), config };
    vaes.set(key, vae);
    return vae;
  };

  return {
    async open(runtime, task, signal) {
      const base = named(openTree, task.model);
      const refiner = task.refiner && named(openTree, task.refiner.model, { parameter: 'refiner.model' });
      const vae = task.vae === undefined ? undefined : named(openTree, task.vae, { category: 'vae', parameter: 'vae' });
      await keepOnly(models, (key) => key === base.key || key === refiner?.key);
      await keepOnly(vaes, (key) => vae !== undefined && key.startsWith(`${vae.key} for `));
      const baseModel = await getModel(runtime, base, signal);
      const open: PlanModels = {
        base: baseModel,
        refiner: refiner && (await getModel(runtime, refiner, signal)),
        vae: vae === undefined ? baseModel.vae : await getVae(runtime, vae, baseModel, signal),
      };
      checkTogether(task, open);
      return { ...open, warnings: [base, refiner, vae].flatMap((tree) => tree?.about?.warnings ?? []) };
    },
    async free() {
      for (const { unet, vae, encoders } of models.values()) {
        for (const component of [unet, vae, ...encoders]) await component.dispose();
      }
      for (const vae of vaes.values()) await vae.dispose();
    },
    async clear() {
      await keepOnly(models, () => false);
      await keepOnly(vaes, () => false);
    },
  };
}

interface NamedTree extends ModelTree {
  /** The same for all forms of one reference; another one once it is registered anew. */
  readonly key: string;
}

function named(openTree: OpenTree, name: string, wanted?: Wanted): NamedTree {
  const tree = openTree(name, wanted);
  return { ...tree, key: tree.about?.key ?? name };
}

async function keepOnly<T extends { dispose(): Promise<void> }>(
  shelf: Shelf<T>,
  wanted: (key: string) => boolean,
): Promise<void> {
  for (const [key, item] of shelf) {
    if (wanted(key)) continue;
    shelf.delete(key);
    await item.dispose();
  }
}

/** Models of one picture must share the latents. */
function checkTogether(task: ImageInferenceTask, { base, vae, refiner }: PlanModels): void {
  const { latentChannels } = base.vae.config;
  if (vae.config.latentChannels !== latentChannels) {
    throw fail(
      'invalidVae',
      `${task.vae} decodes ${vae.config.latentChannels} latent channels; ${task.model} makes ${latentChannels}.`,
      { parameter: 'vae', type: 'string' },
    );
  }
  if (refiner !== undefined && refiner.architecture !== 'sdxl-refiner') {
    throw fail(
      'invalidRefinerModel',
      `${task.refiner?.model} is ${describe(refiner.architecture)}; expected a Stable Diffusion XL refiner.`,
      {
        parameter: 'refiner.model',
        type: 'string',
      },
    );
  }
}
