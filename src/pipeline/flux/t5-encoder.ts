/** @file T5 at work: a row of token ids → text states, block by block. */
import { t5BlockGraph, t5BlockPrefix, T5_BIAS_TABLE, T5_IO, t5OutputGraph, t5PositionBias } from '../../graphs/t5.js';
import { flopsOf } from '../../onnx/cost.js';
import type { GraphOptions } from '../../onnx/net.js';
import type { Graph } from '../../onnx/types.js';
import type { Blocks } from '../../runtime/blocks.js';
import type { DeviceArray } from '../../runtime/device-array.js';
import type { Model } from '../../runtime/session.js';
import type { Compute, StageRun } from '../conditioning.js';
import type { Owned } from '../slot.js';
import { fileBytes } from '../weight-bytes.js';
import type { T5Encoder } from './model.js';
import { makeAll } from './network.js';
import { packingOf } from './packing.js';

/** What T5 is run with, for one length of text. */
export interface T5Sessions extends Owned {
  readonly blocks: Blocks;
  readonly output: Model;
}

/** The graphs of T5, for one length of text, and what its blocks are called in the file. */
export function t5Graphs(
  { config, file, bits }: Pick<T5Encoder, 'config' | 'file' | 'bits'>,
  tokens: number,
  options: GraphOptions,
): { readonly block: Graph; readonly output: Graph; readonly prefixes: readonly string[] } {
  const prefixes = Array.from({ length: config.layers }, (_, i) => t5BlockPrefix(i));
  const packing = packingOf(file, prefixes, { floats: new Set(), bits });
  return {
    block: t5BlockGraph(config, tokens, { ...options, packing }),
    output: t5OutputGraph(config, tokens, options),
    prefixes,
  };
}

/**
 * States `[S, D]` of each of `rows`, one after the other. No token is hidden: FLUX.1 reads the padding too.
 * @param resident blocks whose weights stay on the device; the others' are brought for every row
 * @throws missingWeight, invalidModelFile, runtimeFailed, outOfMemory, aborted
 */
export async function encodeWithT5(
  { runtime, dtype }: Compute,
  t5: T5Encoder,
  rows: readonly Int32Array[],
  resident: number,
  run: StageRun,
): Promise<readonly Float32Array[]> {
  const { config, file } = t5;
  const tokens = rows[0]?.length ?? 0;
  const { block, output, prefixes } = t5Graphs(t5, tokens, { dialect: runtime.dialect, dtype });
  const watch = run.pace?.watch('text', flopsOf(block));
  const sessions = await t5.load(
    `${tokens} ${dtype} ${resident}`,
    fileBytes(file, block, prefixes.slice(0, resident)) + fileBytes(file, output),
    (bank, reading) =>
      makeAll({
        blocks: () => bank.loadBlocks(block, { ...reading, prefixes, resident, watch }),
        output: () => bank.load(output, reading),
      }),
    run,
  );
  return run.progress.stage('text', async () => {
    const table = await file.read(T5_BIAS_TABLE, 'float32', run.signal);
    const held: DeviceArray[] = [];
    try {
      const shape = [1, config.heads, tokens, tokens];
      const bias = await runtime.upload(t5PositionBias(config, table, tokens), shape, dtype);
      held.push(bias);
      const states: DeviceArray[] = [];
      for (let i = 0; i < 2; i++) {
        const array = await runtime.zeros([tokens, config.width], 'float32');
        held.push(array);
        states.push(array);
      }
      const made: Float32Array[] = [];
      for (const ids of rows)
        made.push(await encodeRow(sessions, await t5.embed(ids, run.signal), { bias, states }, run));
      return made;
    } finally {
      for (const array of held) array.dispose();
    }
  });
}

/** The states go back and forth between two arrays. */
async function encodeRow(
  { blocks, output }: T5Sessions,
  embeddings: Float32Array,
  { bias, states }: { readonly bias: DeviceArray; readonly states: readonly DeviceArray[] },
  { signal }: StageRun,
): Promise<Float32Array> {
  let x: Float32Array | DeviceArray = embeddings;
  for (let i = 0; i < blocks.count; i++) {
    const next = states[i % 2];
    if (next === undefined) break;
    await blocks.runInto(i, { [T5_IO.hidden]: x, [T5_IO.bias]: bias }, { [T5_IO.next]: next }, signal);
    x = next;
  }
  const { [T5_IO.last]: last = new Float32Array() } = await output.run({ [T5_IO.hidden]: x }, signal);
  return last;
}
