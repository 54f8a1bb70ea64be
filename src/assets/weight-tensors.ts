/** @file Where each tensor of a component is: in one safetensors file, or in the shards that an untrusted `*.safetensors.index.json` names. */
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';
import type { WeightPlace } from '../models/layouts/layout.js';
import { openSafetensors, type TensorInfo } from './safetensors.js';
import type { ByteSource, FileTree, OnBytes } from './source.js';
import { readJson, TABLE_LIMIT } from './text-file.js';

/** A tensor, or rows of one, and the file that it is in. */
export interface WeightTensor extends TensorInfo {
  readonly source: ByteSource;
  /** The file holds the transpose of this matrix: `shape` is [rows, columns], the bytes are [columns, rows]. */
  readonly transposed?: true;
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

/**
 * What `place` says of its tensor: rows of it (which lie together, so nothing else is read), or its transpose.
 * @throws invalidModelFile when the tensor cannot be cut or turned so
 */
export function tensorAt(place: WeightPlace, tensor: WeightTensor): WeightTensor {
  const { name, part, transposed } = place;
  const rows = part === undefined ? tensor : rowsOf(tensor, part, name);
  if (transposed === undefined) return rows;
  const [columns, height, ...more] = rows.shape;
  if (columns === undefined || height === undefined || more.length > 0) {
    throw unfit(tensor, name, 'a matrix was expected');
  }
  return { ...rows, shape: [height, columns], transposed };
}

function rowsOf(tensor: WeightTensor, { index, of }: { index: number; of: number }, name: string): WeightTensor {
  const [height, ...row] = tensor.shape;
  if (height === undefined || height % of !== 0) throw unfit(tensor, name, `${of} equal parts were expected`);
  const bytes = (tensor.end - tensor.start) / of;
  const start = tensor.start + index * bytes;
  return { ...tensor, shape: [height / of, ...row], start, end: start + bytes };
}

function unfit({ source, shape }: WeightTensor, name: string, expected: string): Error {
  return fail('invalidModelFile', `${source.name}: tensor ${show(name)} is [${shape.join(', ')}]; ${expected}.`);
}

/** The bytes of a matrix `[rows, columns]` from those of its transpose. */
export function transposeBytes(bytes: Uint8Array, shape: readonly number[], elementBytes: number): Uint8Array {
  const [rows = 0, columns = 0] = shape;
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [to, from] = [(row * columns + column) * elementBytes, (column * rows + row) * elementBytes];
      for (let b = 0; b < elementBytes; b++) out[to + b] = bytes[from + b] ?? 0;
    }
  }
  return out;
}

/** What reading shards needs besides their index. */
export interface ShardPlace {
  readonly tree: FileTree;
  /** Path, inside `tree`, of a file beside the index. */
  readonly pathOf: (file: string) => string;
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

async function openShard(file: string, { tree, pathOf, signal, onBytes }: ShardPlace): Promise<WeightTensors> {
  const source = await tree.open(pathOf(file), signal, onBytes);
  if (source !== undefined) return openWhole(source, signal, onBytes);
  throw fail('missingModelFile', `${tree.name} has no ${pathOf(file)}, which its shard index names.`, {
    hint: 'All shards must lie beside the index.',
  });
}
