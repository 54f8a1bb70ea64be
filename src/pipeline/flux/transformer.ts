/** @file FLUX.1's transformer at work: packed latents and a timestep → the velocity, block by block, all features staying on the device. */
import { FLUX_IO, type FluxShape } from '../../graphs/flux.js';
import { fluxPositions } from '../../graphs/flux-tokens.js';
import { rotaryAngles } from '../../graphs/rope.js';
import { fluxWidth } from '../../models/configs/flux-transformer.js';
import type { Blocks } from '../../runtime/blocks.js';
import type { DeviceArray } from '../../runtime/device-array.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Inputs, Model } from '../../runtime/session.js';
import type { LoadRun } from '../component.js';
import type { Compute } from '../conditioning.js';
import type { Owned } from '../slot.js';
import { fileBytes } from '../weight-bytes.js';
import type { StepGraphs } from './graphs.js';
import type { Transformer } from './model.js';
import { makeAll } from './network.js';
import type { Steering } from './steering.js';

/** What the transformer is run with, for one size of picture and text. */
export interface TransformerSessions extends Owned {
  readonly image: Model;
  readonly double: Blocks;
  readonly join: Model;
  readonly single: Blocks;
  readonly output: Model;
}

/** How many blocks' weights stay on the device, from the first on. */
export interface Residents {
  readonly double: number;
  readonly single: number;
}

/** The sessions of `graphs`: those that are there under `key`, or new ones. */
export function loadTransformer(
  transformer: Transformer,
  key: string,
  { image, double, join, single, output }: StepGraphs,
  resident: Residents,
  run: LoadRun,
): Promise<TransformerSessions> {
  const { file } = transformer;
  const ends = [image, output].reduce((sum, graph) => sum + fileBytes(file, graph), 0);
  const blocks =
    fileBytes(file, double.graph, double.prefixes.slice(0, resident.double)) +
    fileBytes(file, single.graph, single.prefixes.slice(0, resident.single));
  return transformer.load(
    `${key} ${resident.double} ${resident.single}`,
    ends + blocks,
    (bank, reading) =>
      makeAll({
        image: () => bank.load(image, reading),
        double: () =>
          bank.loadBlocks(double.graph, { ...reading, prefixes: double.prefixes, resident: resident.double }),
        join: () => bank.load(join, reading),
        single: () =>
          bank.loadBlocks(single.graph, { ...reading, prefixes: single.prefixes, resident: resident.single }),
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
  { config }: Transformer,
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

/**
 * One evaluation.
 * @param latents packed, `[T, inChannels]`
 * @returns the velocity, `[T, outChannels]`
 * @throws runtimeFailed, deviceLost, outOfMemory, aborted (between two blocks), and what bringing weights throws
 */
export async function evaluateTransformer(
  sessions: TransformerSessions,
  { rope, text, image, sequence }: Workspace,
  prompt: PromptFeed,
  latents: Float32Array,
  timestep: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { double, single } = sessions;
  await sessions.image.runInto({ [FLUX_IO.latents]: latents }, { [FLUX_IO.image]: image[0] }, signal);
  let at = { text: prompt.text, image: image[0] };
  for (let i = 0; i < double.count; i++) {
    const next = i % 2 === 0 ? { text: text[1], image: image[1] } : { text: text[0], image: image[0] };
    await double.runInto(
      i,
      { [FLUX_IO.text]: at.text, [FLUX_IO.image]: at.image, ...rope, ...prompt.steering.double(i, timestep) },
      { [FLUX_IO.next('text')]: next.text, [FLUX_IO.next('image')]: next.image },
      signal,
    );
    at = next;
  }
  await sessions.join.runInto(
    { [FLUX_IO.text]: at.text, [FLUX_IO.image]: at.image },
    { [FLUX_IO.sequence]: sequence[0] },
    signal,
  );
  let x = sequence[0];
  for (let i = 0; i < single.count; i++) {
    const next = i % 2 === 0 ? sequence[1] : sequence[0];
    await single.runInto(
      i,
      { [FLUX_IO.sequence]: x, ...rope, ...prompt.steering.single(i, timestep) },
      { [FLUX_IO.next('sequence')]: next },
      signal,
    );
    x = next;
  }
  const inputs = { [FLUX_IO.sequence]: x, ...prompt.steering.condition(timestep) };
  const { [FLUX_IO.velocity]: velocity } = await sessions.output.run(inputs, signal);
  return velocity ?? new Float32Array();
}

/** Text states `[L, textDim]` → `[L, C]` on the device, which the caller disposes. */
export async function embedText(
  runtime: Runtime,
  transformer: Transformer,
  graph: StepGraphs['image'],
  states: Float32Array,
  run: LoadRun,
): Promise<DeviceArray> {
  const output = graph.outputs.find(({ name }) => name === FLUX_IO.text);
  const dtype = output?.value.dtype === 'float16' ? 'float16' : 'float32';
  const text = await runtime.zeros(output?.value.shape ?? [], dtype);
  try {
    await transformer.once(
      fileBytes(transformer.file, graph),
      (bank, reading) => bank.load(graph, reading),
      run,
      (model) => model.runInto({ [FLUX_IO.textStates]: states }, { [FLUX_IO.text]: text }, run.signal),
    );
    return text;
  } catch (error) {
    text.dispose();
    throw error;
  }
}
