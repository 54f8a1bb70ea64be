/** @file The models that are open: those of the last task stay, so that the next picture starts at once; others are freed. */
import { openEmbedding, vectorsFor, type EmbeddingFile } from '../assets/embedding-file.js';
import { openLora, type LoraChanges } from '../assets/lora-file.js';
import { openControlNetFiles, openModelFiles, openVaeFiles } from '../assets/open-model.js';
import type { FileTree } from '../assets/source.js';
import { fail, throwIfAborted } from '../base/errors.js';
import { controlNetMisfit, parseControlNetConfig } from '../models/configs/controlnet.js';
import { parseVaeConfig, vaeScaleFactor } from '../models/configs/vae.js';
import { describeFiles } from '../models/describe.js';
import type { ResolvedModel, Wanted } from '../models/registry.js';
import { unionModeNumber } from '../request/union-modes.js';
import type { ControlNetRequest, ImageInferenceTask, WeightedModel } from '../request/task.js';
import type { Runtime } from '../runtime/runtime.js';
import { triggersOf } from '../text/trigger-words.js';
import { changeableWeights, type ControlNet, type FittedLora } from './add-ons.js';
import { createComponent } from './component.js';
import type { PromptEmbedding } from './conditioning.js';
import { actingEntries, entriesOf, ofEntry, ofParameter, type Entry } from './entries.js';
import type { PlanModels } from './generate.js';
import {
  checkFluxControls,
  fluxControl,
  openFluxControlNet,
  type FluxControl,
  type FluxControlNet,
} from './flux/control-net.js';
import { openFluxModel, type FluxModel } from './flux/model.js';
import { checkFluxTask } from './flux/plan.js';
import { openModel, type LoadedModel, type Vae } from './model.js';
import { describe } from './plan.js';

/** A model's files, and what the registry says of it. */
export interface ModelTree extends FileTree {
  readonly about?: ResolvedModel;
  /** CLIP's published `merges.txt`, for checkpoints of one file, which have no tokenizer. */
  readonly clipTokenizer?: FileTree;
  /** Models that give a FLUX.1 checkpoint of one file the parts that it lacks. */
  readonly companions?: readonly FileTree[];
}

/** The files of a model that a task names. @throws invalidModel, modelNotFound, unsupportedModel */
export type OpenTree = (model: string, wanted?: Wanted) => ModelTree;

/** The models of a task, and what there is to say about them. */
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

export function createLibrary(openTree: OpenTree): Library {
  const models = createShelf<LoadedModel | FluxModel>(close);
  const vaes = createShelf<Vae>(close);
  const controls = createShelf<ControlNet>(close);
  const fluxControls = createShelf<FluxControlNet>(close);
  const loras = createShelf<LoraChanges>();
  const embeddings = createShelf<EmbeddingFile>();
  const shelves = [models, vaes, controls, fluxControls, loras, embeddings];

  const getModel = (
    runtime: Runtime,
    tree: NamedTree,
    signal: AbortSignal | undefined,
  ): Promise<LoadedModel | FluxModel> =>
    models.get(tree.key, tree, async () => {
      const { about, clipTokenizer, companions, derived } = tree;
      const predictionType = about?.overrides.prediction;
      const options = { signal, clipTokenizer, companions, ...(predictionType === 'sample' ? {} : { predictionType }) };
      const opened = await openModelFiles(tree, options);
      const files = about === undefined ? opened : describeFiles(opened, about);
      const { weightBits, textEncoderBits } = about?.overrides ?? {};
      if (files.architecture === 'flux')
        return openFluxModel(runtime, files, { weightBits, textEncoderBits, derived, signal });
      const parameter = weightBits === undefined ? 'textEncoderBits' : 'weightBits';
      if (about?.overrides[parameter] === undefined) return openModel(runtime, files, signal);
      throw fail(
        'invalidModelConfig',
        `${tree.reference}: "${parameter}" is for FLUX.1; ${files.name} is ${describe(files.architecture)}.`,
        { parameter, hint: 'Leave it out.' },
      );
    });

  const getVae = (
    runtime: Runtime,
    tree: NamedTree,
    { architecture }: LoadedModel,
    signal: AbortSignal | undefined,
  ): Promise<Vae> =>
    // The same file may stand for autoencoders of different scaling: nothing in it tells SD's from SDXL's.
    vaes.get(fittedTo(tree, architecture), tree, async () => {
      const files = await openVaeFiles(tree, architecture, signal);
      const config = parseVaeConfig(files.config, `${tree.name}/config.json`);
      return { ...createComponent(runtime, await files.open(signal)), config };
    });

  const getControl = async (
    runtime: Runtime,
    tree: NamedTree,
    base: LoadedModel,
    signal: AbortSignal | undefined,
  ): Promise<ControlNet> => {
    const net = await controls.get(tree.key, tree, async () => {
      const files = await openControlNetFiles(tree, signal);
      if (files.kind !== 'unet')
        throw incompatible(`${tree.name} is for FLUX.1, the model is ${describe(base.architecture)}.`);
      const config = parseControlNetConfig(files.config, `${tree.name}/config.json`);
      return { ...createComponent(runtime, await files.open(signal)), config };
    });
    const misfit = controlNetMisfit(net.config, base.unet.config);
    if (misfit === undefined) return net;
    throw incompatible(`${tree.name} ${misfit}.`);
  };

  const getFluxControl = async (
    runtime: Runtime,
    { tree, value }: NamedEntry<ControlNetRequest>,
    base: { readonly key: string; readonly model: FluxModel },
    signal: AbortSignal | undefined,
  ): Promise<FluxControl> => {
    const { weightBits, unionMode } = tree.about?.overrides ?? {};
    const net = await fluxControls.get(fittedTo(tree, base.key), tree, async () => {
      const files = await openControlNetFiles(tree, signal);
      if (files.kind !== 'flux')
        throw incompatible(`${tree.name} is for Stable Diffusion, the model is ${describe('flux')}.`);
      return openFluxControlNet(runtime, files, base.model.transformer.config, { name: tree.name, weightBits, signal });
    });
    return fluxControl(net, value.unionMode, unionModeNumber(unionMode));
  };

  return {
    async open(runtime, task, signal) {
      const named = namer(openTree);
      /** What entries of a list name, each with its place. */
      const namedAll = async <T extends { readonly model: string }>(
        entries: readonly Entry<T>[],
        wanted: Wanted,
      ): Promise<readonly NamedEntry<T>[]> => {
        const all: NamedEntry<T>[] = [];
        for (const entry of entries)
          all.push({ ...entry, tree: await ofEntry(entry, () => named(entry.value.model, wanted)) });
        return all;
      };
      const base = named(task.model);
      const refiner = task.refiner && named(task.refiner.model, { parameter: 'refiner.model' });
      const vae = task.vae === undefined ? undefined : named(task.vae, { category: 'vae', parameter: 'vae' });
      const entries = {
        controls: await namedAll(entriesOf('controlNet', task.controlNet), {
          category: 'controlnet',
          parameter: 'controlNet.model',
        }),
        loras: await namedAll(actingEntries('lora', task.lora), { category: 'lora', parameter: 'lora.model' }),
        embeddings: await namedAll(actingEntries('embeddings', task.embeddings), {
          category: 'embeddings',
          parameter: 'embeddings.model',
        }),
      };
      await models.keepOnly((key) => key === base.key || key === refiner?.key);
      await vaes.keepOnly((key) => vae !== undefined && isOf(vae, key));
      await controls.keepOnly((key) => entries.controls.some(({ tree }) => tree.key === key));
      await fluxControls.keepOnly((key) => entries.controls.some(({ tree }) => key === fittedTo(tree, base.key)));
      await loras.keepOnly((key) => entries.loras.some(({ tree }) => key === fittedTo(tree, base.key)));
      await embeddings.keepOnly((key) => entries.embeddings.some(({ tree }) => tree.key === key));

      const added = Object.values(entries).flatMap((list) => list.map(({ tree }) => tree));
      const baseModel = await getModel(runtime, base, signal);
      if (baseModel.architecture === 'flux') checkFluxTask(task); // before anything else is opened
      const openLoras: FittedLora[] = [];
      for (const entry of entries.loras) {
        const { tree, value } = entry;
        const key = fittedTo(tree, base.key);
        const open = async (): Promise<LoraChanges> => {
          const file = await openLora(tree, { signal });
          return file.changesFor(changeableWeights(baseModel, runtime.dialect), signal);
        };
        const changes = await ofEntry(entry, () => loras.get(key, tree, open));
        openLoras.push({ key: tree.key, strength: value.weight, changes });
      }
      if (baseModel.architecture === 'flux') {
        const nets: FluxControl[] = [];
        for (const entry of entries.controls) {
          const steered = { key: base.key, model: baseModel };
          nets.push(await ofEntry(entry, () => getFluxControl(runtime, entry, steered, signal)));
        }
        checkFluxControls(nets);
        const open = {
          base: baseModel,
          refiner: undefined,
          vae: baseModel.vae,
          loras: openLoras,
          embeddings: [],
          controls: [],
          fluxControls: nets,
        };
        throwIfAborted(signal);
        return {
          ...open,
          warnings: [...warningsOf([base, ...added], open), ...baseModel.warnings],
        };
      }
      const openEmbeddings: PromptEmbedding[] = [];
      for (const entry of entries.embeddings) {
        const { tree, value } = entry;
        const fitted = await ofEntry(entry, async () => {
          const file = await embeddings.get(tree.key, tree, () => openEmbedding(tree, { signal }));
          return fitEmbedding(file, tree, value, baseModel);
        });
        openEmbeddings.push(fitted);
      }
      const nets: ControlNet[] = [];
      for (const entry of entries.controls) {
        nets.push(await ofEntry(entry, () => getControl(runtime, entry.tree, baseModel, signal)));
      }
      const open: PlanModels = {
        base: baseModel,
        refiner:
          refiner &&
          (await ofParameter('refiner.model', async () => asRefiner(task, await getModel(runtime, refiner, signal)))),
        vae:
          vae === undefined ? baseModel.vae : await ofParameter('vae', () => getVae(runtime, vae, baseModel, signal)),
        loras: openLoras,
        embeddings: openEmbeddings,
        controls: nets,
        fluxControls: [],
      };
      checkTogether(task, open);
      throwIfAborted(signal);
      return { ...open, warnings: warningsOf([base, refiner, vae, ...added], open) };
    },
    async free() {
      for (const { vae, networks } of models.items()) {
        for (const component of [vae, ...networks]) await component.dispose();
      }
      for (const component of [...vaes.items(), ...controls.items(), ...fluxControls.items()])
        await component.dispose();
    },
    async clear() {
      await eachOf(shelves, (shelf) => shelf.keepOnly(() => false));
    },
  };
}

const close = (thing: { dispose(): Promise<void> }): Promise<void> => thing.dispose();

function incompatible(message: string): Error {
  return fail('incompatibleControlNet', message, { parameter: 'controlNet.model', type: 'string' });
}

/** Opened things by key, each with the files that it is read from. */
interface Shelf<T> {
  get(key: string, tree: FileTree, open: () => Promise<T>): Promise<T>;
  items(): readonly T[];
  keepOnly(wanted: (key: string) => boolean): Promise<void>;
}

function createShelf<T>(close: (thing: T) => Promise<void> = () => Promise.resolve()): Shelf<T> {
  const things = new Map<string, { readonly thing: T; readonly tree: FileTree }>();
  return {
    async get(key, tree, open) {
      const known = things.get(key);
      if (known !== undefined) return known.thing;
      try {
        const thing = await open();
        things.set(key, { thing, tree });
        return thing;
      } catch (error) {
        tree.close?.();
        throw error;
      }
    },
    items: () => [...things.values()].map(({ thing }) => thing),
    async keepOnly(wanted) {
      const unwanted = [...things].filter(([key]) => !wanted(key));
      for (const [key] of unwanted) things.delete(key);
      await eachOf(unwanted, ([, { thing, tree }]) => close(thing).finally(() => tree.close?.()));
    },
  };
}

/** One after the other; what cannot be done to one, on a lost device say, keeps nobody from the others. @throws what the first such one threw */
async function eachOf<T>(list: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const done: Promise<void>[] = [];
  for (const one of list) {
    const result = work(one);
    done.push(result);
    await result.catch(() => undefined); // told in the end
  }
  await Promise.all(done);
}

interface NamedEntry<T> extends Entry<T> {
  readonly tree: NamedTree;
}

interface NamedTree extends ModelTree {
  /** The same for all forms of one reference; another one once it is registered anew. */
  readonly key: string;
  /** As the request has it. */
  readonly reference: string;
}

function namer(openTree: OpenTree): (reference: string, wanted?: Wanted) => NamedTree {
  return (reference, wanted) => {
    const tree = openTree(reference, wanted);
    return { ...tree, key: tree.about?.key ?? reference, reference };
  };
}

/** The key of something that depends on what it is used with. */
function fittedTo({ key }: NamedTree, what: string): string {
  return `${key} for ${what}`;
}

function isOf({ key }: NamedTree, fitted: string): boolean {
  return fitted.startsWith(`${key} for `);
}

function fitEmbedding(
  file: EmbeddingFile,
  { reference }: NamedTree,
  { weight }: WeightedModel,
  { encoders, name }: LoadedModel,
): PromptEmbedding {
  const widths = encoders.map(({ slot, config }) => ({ slot, width: config.hiddenSize }));
  return {
    name: reference,
    weight,
    count: file.count,
    triggers: triggersOf(file, reference),
    vectors: vectorsFor(file, widths, name),
  };
}

function warningsOf(trees: readonly (NamedTree | undefined)[], { loras }: PlanModels): readonly string[] {
  const unmatched = loras.flatMap(({ changes }) => (changes.warning === undefined ? [] : [changes.warning]));
  return [...new Set([...trees.flatMap((tree) => tree?.about?.warnings ?? []), ...unmatched])];
}

/** Models of one picture must share the latents. */
function checkTogether(task: ImageInferenceTask, { base, vae, refiner }: PlanModels): void {
  const { latentChannels } = base.vae.config;
  const { inChannels = latentChannels, outChannels = latentChannels } = refiner?.unet.config ?? {};
  if (inChannels !== latentChannels || outChannels !== latentChannels) {
    throw fail(
      'invalidRefinerModel',
      `${task.refiner?.model} reads ${inChannels} latent channels and makes ${outChannels}; ${task.model} makes ${latentChannels}.`,
      { parameter: 'refiner.model', type: 'string' },
    );
  }
  const [own, factor] = [base.vae, vae].map(({ config }) => vaeScaleFactor(config));
  if (own !== factor) {
    throw fail(
      'invalidVae',
      `${task.vae} makes ${factor} pixels a side of a latent cell; the model's own makes ${own}.`,
      { parameter: 'vae', type: 'string' },
    );
  }
  if (vae.config.latentChannels !== latentChannels) {
    throw fail(
      'invalidVae',
      `${task.vae} decodes ${vae.config.latentChannels} latent channels; ${task.model} makes ${latentChannels}.`,
      { parameter: 'vae', type: 'string' },
    );
  }
}

function asRefiner({ refiner }: ImageInferenceTask, model: LoadedModel | FluxModel): LoadedModel {
  if (model.architecture === 'sdxl-refiner') return model;
  throw fail(
    'invalidRefinerModel',
    `${refiner?.model} is ${describe(model.architecture)}; expected a Stable Diffusion XL refiner.`,
    { parameter: 'refiner.model', type: 'string' },
  );
}
