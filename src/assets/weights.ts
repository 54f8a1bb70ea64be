/** @file The weights of one component (a UNet, a VAE…) as one view over its file or shards, under internal names. */
import { elementCount, type FloatType } from '../base/dtype.js';
import type { Float8Type } from '../base/fp8.js';
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { isJunkWeight, type WeightLayout } from '../models/layouts/layout.js';
import type { KeptMatrices } from './converted/kept-matrices.js';
import { openUnlessMarkup } from './file-kind.js';
import type { FloatArrays } from './floats.js';
import { readTensor, readTensorBytes, readTensorPieces } from './read-tensor.js';
import type { Room } from './room.js';
import type { FileTree, OnBytes } from './source.js';
import {
  openShards,
  openWhole,
  tensorAt,
  withScales,
  type WeightTensor,
  type WeightTensors,
} from './weight-tensors.js';

/** All weights of one component. Names given to its functions are internal ones (see `models/layouts/`). */
export interface WeightFile {
  /** For messages: the file or shard index. */
  readonly name: string;
  /** Everything in the files by the name used there, without junk such as `position_ids`. */
  readonly tensors: WeightTensors;
  /**
   * Where `name` is, with the shape that graphs expect; `undefined` when the files do not have it.
   * @throws invalidModelFile when it is part of a tensor that cannot be cut
   */
  find(name: string): WeightTensor | undefined;
  /** The values as float32, or as float16 bits. @throws missingWeight, invalidModelFile (not floats; too large for float16) */
  read<A extends FloatType>(name: string, as: A, signal?: AbortSignal, onBytes?: OnBytes): Promise<FloatArrays[A]>;
  /**
   * The same in pieces, in order, of which two are held at a time whatever the tensor's size; an array of no values gives none or an empty one.
   * Absent in files that are made up as they are read. @throws as `read`
   */
  pieces?<A extends FloatType>(
    name: string,
    as: A,
    signal?: AbortSignal,
    onBytes?: OnBytes,
    room?: Room,
  ): AsyncIterable<FloatArrays[A]>;
  /**
   * Where the values are floats of 16 or 8 bits that are only to be read one after the other: these bits, in pieces with an even number of values
   * but for the last. Absent in files that are made up as they are read.
   */
  bits?(name: string): FloatBits | undefined;
  /** The bytes in row-major order of `find(name).shape`, of type `find(name).dtype`, without its scale. @throws missingWeight */
  bytes(name: string, signal?: AbortSignal, onBytes?: OnBytes): Promise<Uint8Array>;
  /** Matrices that were rounded before, which need not be read and rounded again. Absent, or `undefined`: there are none (yet). */
  readonly kept?: KeptMatrices | undefined;
}

/** Floats as a file has them. */
export interface FloatBits {
  readonly coding: 'F16' | 'BF16' | Float8Type;
  /** The factor of all values, where there is one. @throws invalidModelFile, downloadFailed, aborted */
  scale(signal?: AbortSignal, onBytes?: OnBytes): Promise<number | undefined>;
  /** In units of 16 bits: a value, or two of 8 bits. @throws downloadFailed, aborted */
  read(signal?: AbortSignal, onBytes?: OnBytes, room?: Room): AsyncIterable<Uint16Array>;
}

export interface WeightOptions {
  readonly layout: WeightLayout;
  /** File variants to look for, in this order; '' is the plain name, `fp16` gives `NAME.fp16.safetensors`. */
  readonly variants?: readonly string[];
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

const VARIANTS = ['', 'fp16', 'bf16', 'non_ema'] as const;

/**
 * Opens `folder`'s weights (`''` is the tree itself): per variant `STEM.safetensors`, else the shards of `STEM.safetensors.index.json`.
 * @param stems file names without ending: `diffusion_pytorch_model`, or `model` for text encoders
 * @throws missingModelFile, pickleRefused (only .bin, .ckpt or .pt is there), invalidModelFile, invalidModelConfig
 */
export async function openWeights(
  tree: FileTree,
  folder: string,
  stems: readonly string[],
  options: WeightOptions,
): Promise<WeightFile> {
  const { layout, variants = VARIANTS, signal, onBytes } = options;
  const pathOf = (file: string): string => (folder === '' ? file : `${folder}/${file}`);
  for (const { whole, index } of candidates(stems, variants)) {
    const file = await openUnlessMarkup(tree, pathOf(whole), signal, onBytes);
    if (file !== undefined) return viewWeights(file.name, await openWhole(file, signal, onBytes), layout);
    const list = await openUnlessMarkup(tree, pathOf(index), signal, onBytes);
    if (list !== undefined)
      return viewWeights(list.name, await openShards(list, { tree, pathOf, signal, onBytes }), layout);
  }
  await refusePickles(tree, pathOf, stems, signal);
  const expected = stems.map((stem) => pathOf(`${stem}.safetensors`)).join(' or ');
  throw fail('missingModelFile', `${tree.name} has no ${expected}.`, {
    hint: `Also looked for: ${variants.filter(Boolean).join(', ')} variants, and shards. A web page in place of a file counts as missing.`,
  });
}

/** The names that diffusers gives to a whole file and to a shard index, per variant and stem. */
function candidates(
  stems: readonly string[],
  variants: readonly string[],
): readonly { readonly whole: string; readonly index: string }[] {
  return variants.flatMap((variant) => {
    const middle = variant === '' ? '' : `.${variant}`;
    return stems.map((stem) => ({
      whole: `${stem}${middle}.safetensors`,
      index: `${stem}.safetensors.index${middle}.json`,
    }));
  });
}

async function refusePickles(
  tree: FileTree,
  pathOf: (file: string) => string,
  stems: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const stem of [...stems, 'pytorch_model']) {
    for (const ending of ['bin', 'ckpt', 'pt']) {
      const source = await openUnlessMarkup(tree, pathOf(`${stem}.${ending}`), signal);
      if (source === undefined) continue;
      throw fail(
        'pickleRefused',
        `${tree.name} has its weights only as ${pathOf(`${stem}.${ending}`)}, a pickle file; a .safetensors file was expected.`,
        {
          hint: 'Pickle files can run code when they are opened, so they are refused. Use the .safetensors files of this model.',
        },
      );
    }
  }
}

/** The weights of one component among `all` tensors of a file; the layout says where. `name` is the file's, for messages. */
export function viewWeights(name: string, all: WeightTensors, layout: WeightLayout): WeightFile {
  const tensors = withScales(new Map([...all].filter(([tensor]) => !isJunkWeight(tensor))));
  const find = (internal: string): WeightTensor | undefined => {
    for (const place of layout.places(internal)) {
      const stored = tensors.get(place.name);
      if (stored === undefined) continue;
      const tensor = tensorAt(place, stored);
      return { ...tensor, shape: layout.shape(internal, tensor.shape) };
    }
    return undefined;
  };
  const demand = (internal: string): WeightTensor => {
    const tensor = find(internal);
    if (tensor !== undefined) return tensor;
    const tried = layout.places(internal).map((place) => show(place.name));
    throw fail(
      'missingWeight',
      `${name} has no tensor ${tried.join(' or ') || show(internal)} among its ${tensors.size}.`,
      {
        hint: 'The weights do not belong to this config, or the file holds another component.',
      },
    );
  };
  const where = (internal: string): string => `${name}: tensor ${show(internal)}`;
  return {
    name,
    tensors,
    find,
    bytes: async (internal, signal, onBytes) =>
      readTensorBytes(demand(internal), { where: where(internal), signal, onBytes }),
    pieces: (internal, as, signal, onBytes, room) =>
      readTensorPieces(demand(internal), as, { where: where(internal), signal, onBytes, room }),
    bits(internal) {
      const tensor = find(internal);
      if (tensor === undefined) return undefined;
      return bitsOf(tensor, where(internal));
    },
    read: async (internal, as, signal, onBytes) =>
      readTensor(demand(internal), as, { where: where(internal), signal, onBytes }),
  };
}

/** What {@link WeightFile.bits} says of a tensor. */
function bitsOf({ source, start, end, ...tensor }: WeightTensor, where: string): FloatBits | undefined {
  const { dtype, shape, scale, swapped, transposed } = tensor;
  if (swapped !== undefined || transposed !== undefined) return undefined;
  if (dtype !== 'F16' && dtype !== 'BF16' && dtype !== 'F8_E4M3' && dtype !== 'F8_E5M2') return undefined;
  const small = dtype === 'F8_E4M3' || dtype === 'F8_E5M2';
  const units = elementCount(shape) / (small ? 2 : 1);
  if (!Number.isInteger(units) || (scale !== undefined && elementCount(scale.shape) > 1)) return undefined;
  const plain = { source, start, end, dtype: 'F16', shape: [units] } as const; // read as they are
  return {
    coding: dtype,
    async scale(signal, onBytes) {
      if (scale === undefined) return undefined;
      const [factor] = await readTensor(scale, 'float32', { where: `${where}: scale`, signal, onBytes });
      return factor;
    },
    read: (signal, onBytes, room) => readTensorPieces(plain, 'float16', { where, signal, onBytes, room }),
  };
}
