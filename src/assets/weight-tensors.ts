/** @file Where each tensor of a component is: in one safetensors file, or in the shards that an untrusted `*.safetensors.index.json` names. */
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';
import { openSafetensors, type TensorInfo } from './safetensors.js';
import type { ByteSource, FileTree, OnBytes } from './source.js';
import { readJson, TABLE_LIMIT } from './text-file.js';

/** A tensor and the file that it is in. */
export interface WeightTensor extends TensorInfo {
  readonly source: ByteSource;
}

/** Name used in the files → tensor. */
export type WeightTensors = ReadonlyMap<string, WeightTensor>;

/** More files than any model has; each costs a request. */
const MAX_SHARDS = 1000;
/** A file beside the index: no folder, no `..`, no scheme. */
const SHARD_NAME = /^[\w-][\w.-]*\.safetensors$/;

/** All tensors of one file. @throws invalidModelFile, pickleRefused, unsupportedModel */
export async function openWhole(source: ByteSource, signal?: AbortSignal, onBytes?: OnBytes): Promise<WeightTensors> {
  const { tensors } = await openSafetensors(source, signal, onBytes);
  return new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, source }]));
}

/** What reading shards needs besides their index. */
export interface ShardPlace {
  readonly tree: FileTree;
  /** The folder, inside `tree`, of the index and the shards. */
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/**
 * The tensors that a shard index lists.
 * @throws invalidModelConfig (a bad index), missingModelFile (a shard that is not there), invalidModelFile (a shard that is
 *   broken or lacks a tensor listed for it)
 */
export async function openShards(index: ByteSource, place: ShardPlace): Promise<WeightTensors> {
  const weightMap = parseWeightMap(await readJson(index, TABLE_LIMIT, place.signal), index.name);
  const files = [...new Set(weightMap.values())];
  const shards = new Map(await Promise.all(files.map(async (file) => [file, await openShard(file, place)] as const)));
  return new Map(
    [...weightMap].map(([tensor, file]) => {
      const found = shards.get(file)?.get(tensor);
      if (found !== undefined) return [tensor, found];
      throw fail('invalidModelFile', `${file} has no tensor ${show(tensor)}, which ${index.name} says it holds.`);
    }),
  );
}

/** Tensor name → shard file name. */
function parseWeightMap(json: unknown, name: string): ReadonlyMap<string, string> {
  const map = fields(json, name).raw('weight_map');
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw fail('invalidModelConfig', `${name}: "weight_map" must be an object (tensor → file), got ${show(map)}.`);
  }
  const entries = Object.entries(map).map(([tensor, file]: [string, unknown]) => {
    if (typeof file === 'string' && SHARD_NAME.test(file)) return [tensor, file] as const;
    throw fail(
      'invalidModelConfig',
      `${name}: ${show(tensor)} must name a .safetensors file of the same folder, got ${show(file)}.`,
    );
  });
  const count = new Set(entries.map(([, file]) => file)).size;
  if (count > MAX_SHARDS)
    throw fail('invalidModelConfig', `${name} names ${count} files; at most ${MAX_SHARDS} are accepted.`);
  return new Map(entries);
}

async function openShard(file: string, { tree, folder, signal, onBytes }: ShardPlace): Promise<WeightTensors> {
  const source = await tree.open(`${folder}/${file}`, signal, onBytes);
  if (source !== undefined) return openWhole(source, signal, onBytes);
  throw fail('missingModelFile', `${tree.name} has no ${folder}/${file}, which its shard index names.`, {
    hint: 'All shards must lie beside the index.',
  });
}
