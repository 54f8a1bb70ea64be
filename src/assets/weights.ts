/** @file The weights of one component (a UNet, a VAE…) as one view over its safetensors file or shards, under internal names. */
import type { FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { isJunkWeight, type WeightLayout } from '../models/weight-names.js';
import { openUnlessMarkup } from './file-kind.js';
import { decodeFloats, type FloatArrays } from './floats.js';
import type { FileTree, OnBytes } from './source.js';
import { openShards, openWhole, type WeightTensor, type WeightTensors } from './weight-tensors.js';

/** All weights of one component. Names given to its functions are internal ones (see `models/weight-names.ts`). */
export interface WeightFile {
  /** For messages: the file or shard index. */
  readonly name: string;
  /** Everything in the files by the name used there, without junk such as `position_ids`. */
  readonly tensors: WeightTensors;
  /** Where `name` is, with the shape that graphs expect; `undefined` when the files do not have it. */
  find(name: string): WeightTensor | undefined;
  /** The values as float32, or as float16 bits. @throws missingWeight, invalidModelFile (not floats; too large for float16) */
  read<A extends FloatType>(name: string, as: A, signal?: AbortSignal, onBytes?: OnBytes): Promise<FloatArrays[A]>;
  /** The bytes as stored, of type `find(name).dtype`. @throws missingWeight */
  bytes(name: string, signal?: AbortSignal, onBytes?: OnBytes): Promise<Uint8Array>;
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
 * Opens `folder`'s weights: per variant `STEM.safetensors`, else the shards of `STEM.safetensors.index.json`.
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
  for (const { whole, index } of candidates(folder, stems, variants)) {
    const file = await openUnlessMarkup(tree, whole, signal, onBytes);
    if (file !== undefined) return weightFile(file.name, await openWhole(file, signal, onBytes), layout);
    const list = await openUnlessMarkup(tree, index, signal, onBytes);
    if (list !== undefined)
      return weightFile(list.name, await openShards(list, { tree, folder, signal, onBytes }), layout);
  }
  await refusePickles(tree, folder, stems, signal);
  const expected = stems.map((stem) => `${folder}/${stem}.safetensors`).join(' or ');
  throw fail('missingModelFile', `${tree.name} has no ${expected}.`, {
    hint: `Also looked for: ${variants.filter(Boolean).join(', ')} variants, and shards. A web page in place of a file counts as missing.`,
  });
}

/** The names that diffusers gives to a whole file and to a shard index, per variant and stem. */
function candidates(
  folder: string,
  stems: readonly string[],
  variants: readonly string[],
): readonly { readonly whole: string; readonly index: string }[] {
  return variants.flatMap((variant) => {
    const middle = variant === '' ? '' : `.${variant}`;
    return stems.map((stem) => ({
      whole: `${folder}/${stem}${middle}.safetensors`,
      index: `${folder}/${stem}.safetensors.index${middle}.json`,
    }));
  });
}

async function refusePickles(
  tree: FileTree,
  folder: string,
  stems: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const stem of [...stems, 'pytorch_model']) {
    for (const ending of ['bin', 'ckpt', 'pt']) {
      const source = await openUnlessMarkup(tree, `${folder}/${stem}.${ending}`, signal);
      if (source === undefined) continue;
      throw fail(
        'pickleRefused',
        `${tree.name} has its ${folder} only as ${stem}.${ending}, a pickle file; a .safetensors file was expected.`,
        {
          hint: 'Pickle files can run code when they are opened, so they are refused. Use the .safetensors files of this model.',
        },
      );
    }
  }
}

function weightFile(name: string, all: WeightTensors, layout: WeightLayout): WeightFile {
  const tensors = new Map([...all].filter(([tensor]) => !isJunkWeight(tensor)));
  const find = (internal: string): WeightTensor | undefined => {
    const stored = layout
      .names(internal)
      .map((candidate) => tensors.get(candidate))
      .find((tensor) => tensor !== undefined);
    return stored && { ...stored, shape: layout.shape(internal, stored.shape) };
  };
  const demand = (internal: string): WeightTensor => {
    const tensor = find(internal);
    if (tensor !== undefined) return tensor;
    const tried = layout.names(internal).map(show).join(' or ');
    throw fail('missingWeight', `${name} has no tensor ${tried} among its ${tensors.size}.`, {
      hint: "The weights do not belong to this folder's config.json, or the file holds another component.",
    });
  };
  const bytes: WeightFile['bytes'] = async (internal, signal, onBytes) => {
    const { source, start, end } = demand(internal);
    return source.read(start, end, signal, onBytes);
  };
  return {
    name,
    tensors,
    find,
    bytes,
    read: async (internal, as, signal, onBytes) => {
      const { dtype } = demand(internal);
      return decodeFloats(await bytes(internal, signal, onBytes), dtype, as, `${name}: tensor ${show(internal)}`);
    },
  };
}
