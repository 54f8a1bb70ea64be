/**
 * @file Where each tensor of a component is: in one safetensors or GGUF file, or in the shards that an untrusted
 * `*.safetensors.index.json` names.
 */
import { elementCount } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';
import type { RowPart, WeightPlace } from '../models/layouts/layout.js';
import { storedBytes, type StoredType } from './floats.js';
import { isGguf, openGguf } from './gguf.js';
import { openSafetensors } from './safetensors.js';
import type { ByteSource, FileTree, OnBytes } from './source.js';
import { readJson, TABLE_LIMIT } from './text-file.js';

/** A tensor, or rows of one, and the file that it is in: at bytes `start` (inclusive) to `end` (exclusive), row by row. */
export interface WeightTensor {
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
  readonly source: ByteSource;
  /** The file holds the transpose of this matrix: `shape` is [rows, columns], the bytes are [columns, rows]. */
  readonly transposed?: true;
  /** The file has the second half of the rows first. */
  readonly swapped?: true;
  /** A factor of all values, or one for each row as it is stored: files of float8 have them beside the weight. */
  readonly scale?: WeightTensor;
}

/** Name used in the files → tensor. */
export type WeightTensors = ReadonlyMap<string, WeightTensor>;

/** More files than any model has; each costs a request. */
const MAX_SHARDS = 1000;
/** A file beside the index: no folder, no `..`, no scheme. */
const SHARD_NAME = /^[\w-][\w.-]*\.safetensors$/;

/** A whole file: its tensors, and what its header says besides. */
export interface TensorFile {
  /** For messages. */
  readonly name: string;
  readonly tensors: WeightTensors;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Reads the header of a safetensors file or of a GGUF file; its first bytes tell which. @throws invalidModelFile, pickleRefused, unsupportedModel */
export async function openTensorFile(source: ByteSource, signal?: AbortSignal, onBytes?: OnBytes): Promise<TensorFile> {
  const magic = await source.read(0, Math.min(4, source.size), signal);
  const open = isGguf(magic) ? openGguf : openSafetensors;
  const { tensors, metadata } = await open(source, signal, onBytes);
  const entries = [...tensors].map(([name, tensor]): readonly [string, WeightTensor] => [name, { ...tensor, source }]);
  return { name: source.name, tensors: new Map(entries), metadata };
}

/** All tensors of one file. @throws as {@link openTensorFile} */
export async function openWhole(source: ByteSource, signal?: AbortSignal, onBytes?: OnBytes): Promise<WeightTensors> {
  return (await openTensorFile(source, signal, onBytes)).tensors;
}

/** What files of float8 call the factor of `X.weight`: ComfyUI's (github.com/comfyanonymous/ComfyUI, QUANTIZATION.md), old and new. */
const SCALES = ['scale_weight', 'weight_scale'] as const;

/** The same tensors; where a weight has a factor beside it, it knows it. @throws invalidModelFile for a factor of another shape */
export function withScales(tensors: WeightTensors): WeightTensors {
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const module = /^(.+\.)weight$/.exec(name)?.[1];
      const scale = module && SCALES.map((suffix) => tensors.get(module + suffix)).find((found) => found !== undefined);
      if (!scale) return [name, tensor];
      const factors = elementCount(scale.shape);
      if (factors === 1 || factors === tensor.shape[0]) return [name, { ...tensor, scale }];
      throw unfit(scale, `the scale of ${show(name)}`, `1 or ${tensor.shape[0]} factors were expected`);
    }),
  );
}

/**
 * What `place` says of its tensor: rows of it (which lie together, so nothing else is read), its halves in the other order, or its transpose.
 * @throws invalidModelFile when the tensor cannot be cut or turned so
 */
export function tensorAt(place: WeightPlace, tensor: WeightTensor): WeightTensor {
  const { name, part, swapped, transposed } = place;
  const rows = part === undefined ? tensor : partOf(tensor, part, name);
  if (swapped !== undefined) {
    cutRows(rows, 0, (rows.shape[0] ?? NaN) / 2, name); // where it cannot be cut in two, it throws
    return { ...rows, swapped };
  }
  if (transposed === undefined) return rows;
  const [columns, height, ...more] = rows.shape;
  if (columns === undefined || height === undefined || more.length > 0) {
    throw unfit(tensor, show(name), 'a matrix was expected');
  }
  return { ...rows, shape: [height, columns], transposed };
}

function partOf(tensor: WeightTensor, { index, of, count = 1 }: RowPart, name: string): WeightTensor {
  const height = (tensor.shape[0] ?? NaN) / of;
  if (!Number.isInteger(height)) throw unfit(tensor, show(name), `${of} equal parts were expected`);
  return cutRows(tensor, index * height, (index + count) * height, name);
}

/**
 * Rows `first` (inclusive) to `end` (exclusive) of a tensor as it is stored, with their factors.
 * @throws invalidModelFile where the cut is not between two rows, or not between two blocks of values
 */
export function cutRows(tensor: WeightTensor, first: number, end: number, name: string): WeightTensor {
  const [height = NaN, ...row] = tensor.shape;
  const values = elementCount(row);
  const [from, to] = [storedBytes(first * values, tensor.dtype), storedBytes(end * values, tensor.dtype)];
  const inside = Number.isInteger(first) && Number.isInteger(end) && end <= height;
  if (!inside || !Number.isFinite(from + to)) throw unfit(tensor, show(name), `rows ${first} to ${end} were asked for`);
  const { scale } = tensor;
  const cut = { ...tensor, shape: [end - first, ...row], start: tensor.start + from, end: tensor.start + to };
  return scale === undefined || elementCount(scale.shape) === 1
    ? cut
    : { ...cut, scale: cutRows(scale, first, end, `${name}: scale`) };
}

function unfit({ source, shape }: WeightTensor, what: string, expected: string): Error {
  return fail('invalidModelFile', `${source.name}: tensor ${what} is [${shape.join(', ')}]; ${expected}.`);
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
