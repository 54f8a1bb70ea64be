/** @file FLUX.1's transformer at work: packed latents and a timestep → the velocity, block by block, all features staying on the device. */
import { FLUX_IO, type FluxShape } from '../../graphs/flux.js';
import { fluxPositions } from '../../graphs/flux-tokens.js';
import { rotaryAngles } from '../../graphs/rope.js';
import { fluxWidth, type FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import { flopsOf } from '../../onnx/cost.js';
import type { Graph } from '../../onnx/types.js';
import { stayingBlocks, type Blocks } from '../../runtime/blocks.js';
import type { DeviceArray } from '../../runtime/device-array.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Inputs, Model } from '../../runtime/session.js';
import type { LoadOptions, WeightBank } from '../../runtime/weights.js';
import type { LoadRun } from '../component.js';
import type { Compute } from '../conditioning.js';
import type { Owned } from '../slot.js';
import { fileBytes } from '../weight-bytes.js';
import type { BlockGraph, StepGraphs } from './graphs.js';
import type { Residents } from './memory.js';
import type { Transformer } from './model.js';
import { makeAll } from './network.js';
import type { FluxNetwork, Steering } from './steering.js';

/** What the transformer is run with, for one size of picture and text. */
export interface TransformerSessions extends Owned {
  readonly image: Model;
  readonly double: Blocks;
  readonly join: Model;
  readonly single: Blocks;
  readonly output: Model;
}

/** The sessions of `graphs`: those that are there under `key`, or new ones. */
export function loadTransformer(
  transformer: Transformer,
  key: string,
  { image, double, join, single, output }: StepGraphs,
  resident: Residents,
  run: LoadRun,
): Promise<TransformerSessions> {
  const { file, pipe } = transformer;
  const ends = [image, output].reduce((sum, graph) => sum + fileBytes(file, graph), 0);
  const staying = ({ graph, prefixes }: BlockGraph, count: number): number => {
    const stays = stayingBlocks(prefixes.length, count);
    return fileBytes(
      file,
      graph,
      prefixes.filter((_, i) => stays[i]),
    );
  };
  const load = (bank: WeightBank, { graph, prefixes }: BlockGraph, count: number, reading: LoadOptions) =>
    bank.loadBlocks(graph, {
      ...reading,
      prefixes,
      resident: count,
      pipe,
      watch: run.pace?.watch('image', flopsOf(graph)),
    });
  return transformer.load(
    `${key} ${resident.double} ${resident.single}`,
    ends + staying(double, resident.double) + staying(single, resident.single),
    (bank, reading) =>
      makeAll({
        image: () => bank.load(image, reading),
        double: () => load(bank, double, resident.double, reading),
        join: () => bank.load(join, reading),
        single: () => load(bank, single, resident.single, reading),
        output: () => bank.load(output, reading),
      }),
    run,
  );
}

/** The features of one picture on the device: of each stream two, since a block writes into other arrays than it reads. */
export interface Workspace {
  readonly rope: Inputs;
  readonly text: readonly [DeviceArray, DeviceArray];
  readonly image: readonly [DeviceArray, DeviceArray];
  readonly sequence: readonly [DeviceArray, DeviceArray];
  dispose(): void;
}

/** @param grid rows and columns of image tokens @throws outOfMemory */
export async function createWorkspace(
  { runtime, dtype }: Compute,
  config: FluxTransformerConfig,
  { textTokens, imageTokens }: FluxShape,
  grid: { readonly rows: number; readonly columns: number },
): Promise<Workspace> {
  const held: DeviceArray[] = [];
  const hold = async (made: Promise<DeviceArray>): Promise<DeviceArray> => {
    const array = await made;
    held.push(array);
    return array;
  };
  const dispose = (): void => held.forEach((array) => array.dispose());
  try {
    const { cos, sin } = rotaryAngles(fluxPositions(textTokens, grid), config.ropeAxes);
    const tokens = textTokens + imageTokens;
    const pairs = [tokens, config.headDim / 2];
    const rope = {
      [FLUX_IO.cos]: await hold(runtime.upload(cos, pairs, dtype)),
      [FLUX_IO.sin]: await hold(runtime.upload(sin, pairs, dtype)),
    };
    const two = async (rows: number): Promise<readonly [DeviceArray, DeviceArray]> => {
      const make = (): Promise<DeviceArray> => hold(runtime.zeros([rows, fluxWidth(config)], dtype));
      return [await make(), await make()];
    };
    return { rope, text: await two(textTokens), image: await two(imageTokens), sequence: await two(tokens), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** What is the same at every step of a prompt: its embedded text `[L, C]` on the device, and what steers the blocks. */
export interface PromptFeed {
  readonly text: DeviceArray;
  readonly steering: Steering;
}

/** What comes before the blocks, and the blocks: the transformer's, or a ControlNet's, which may have no single ones. */
export interface BlockSessions {
  readonly image: Model;
  readonly double: Blocks | undefined;
  readonly join: Model | undefined;
  readonly single: Blocks | undefined;
}

export type BlockKind = 'double' | 'single';

/** What somebody has to do with the features between blocks. */
export interface BlockHooks {
  /** More inputs of a block. */
  readonly inputs?: (kind: BlockKind, block: number) => Inputs;
  /** Sees what a block made: image tokens `[T, C]`, or of a single block the sequence `[L+T, C]`. */
  readonly after?: (kind: BlockKind, block: number, features: DeviceArray) => Promise<void>;
}

/**
 * Image tokens and text through all blocks.
 * @param embedded inputs of the graph that embeds the image tokens
 * @returns the sequence `[L+T, C]`; without single blocks the image tokens `[T, C]`
 * @throws runtimeFailed, deviceLost, outOfMemory, aborted (between two blocks), and what bringing weights throws
 */
export async function runBlocks(
  sessions: BlockSessions,
  { rope, text, image, sequence }: Workspace,
  prompt: PromptFeed,
  embedded: Inputs,
  timestep: number,
  { inputs, after }: BlockHooks,
  signal?: AbortSignal,
): Promise<DeviceArray> {
  const { double, join, single } = sessions;
  await sessions.image.runInto(embedded, { [FLUX_IO.image]: image[0] }, signal);
  let at = { text: prompt.text, image: image[0] };
  for (let i = 0; double !== undefined && i < double.count; i++) {
    const next = i % 2 === 0 ? { text: text[1], image: image[1] } : { text: text[0], image: image[0] };
    const steering = { ...prompt.steering.double(i, timestep), ...inputs?.('double', i) };
    await double.runInto(
      i,
      { [FLUX_IO.text]: at.text, [FLUX_IO.image]: at.image, ...rope, ...steering },
      { [FLUX_IO.next('text')]: next.text, [FLUX_IO.next('image')]: next.image },
      signal,
    );
    await after?.('double', i, next.image);
    at = next;
  }
  if (join === undefined || single === undefined) return at.image;
  const both = { [FLUX_IO.text]: at.text, [FLUX_IO.image]: at.image };
  await join.runInto(both, { [FLUX_IO.sequence]: sequence[0] }, signal);
  let x = sequence[0];
  for (let i = 0; i < single.count; i++) {
    const next = i % 2 === 0 ? sequence[1] : sequence[0];
    const steering = { ...prompt.steering.single(i, timestep), ...inputs?.('single', i) };
    await single.runInto(
      i,
      { [FLUX_IO.sequence]: x, ...rope, ...steering },
      { [FLUX_IO.next('sequence')]: next },
      signal,
    );
    await after?.('single', i, next);
    x = next;
  }
  return x;
}

/**
 * One evaluation.
 * @param latents packed, `[T, inChannels]`
 * @param control what is added to the image tokens behind each block, as its input
 * @returns the velocity, `[T, outChannels]`
 * @throws as {@link runBlocks}
 */
export async function evaluateTransformer(
  sessions: TransformerSessions,
  workspace: Workspace,
  prompt: PromptFeed,
  latents: Float32Array,
  timestep: number,
  control: BlockHooks['inputs'],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const embedded = { [FLUX_IO.latents]: latents };
  const hooks = control === undefined ? {} : { inputs: control };
  const sequence = await runBlocks(sessions, workspace, prompt, embedded, timestep, hooks, signal);
  const last = { [FLUX_IO.sequence]: sequence, ...prompt.steering.condition(timestep) };
  const { [FLUX_IO.velocity]: velocity } = await sessions.output.run(last, signal);
  return velocity ?? new Float32Array();
}

/**
 * Text states `[L, textDim]` → `[L, C]` on the device, which the caller disposes.
 * @param graph that embeds them
 * @param more of its inputs
 */
export async function embedText(
  runtime: Runtime,
  { file, once }: FluxNetwork,
  graph: Graph,
  states: Float32Array,
  run: LoadRun,
  more: Inputs = {},
): Promise<DeviceArray> {
  const output = graph.outputs.find(({ name }) => name === FLUX_IO.text);
  const dtype = output?.value.dtype === 'float16' ? 'float16' : 'float32';
  const text = await runtime.zeros(output?.value.shape ?? [], dtype);
  try {
    await once(
      fileBytes(file, graph),
      (bank, reading) => bank.load(graph, reading),
      run,
      (model) => model.runInto({ [FLUX_IO.textStates]: states, ...more }, { [FLUX_IO.text]: text }, run.signal),
    );
    return text;
  } catch (error) {
    text.dispose();
    throw error;
  }
}
