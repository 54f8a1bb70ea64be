/** @file What `bench/convert.ts` does in Node and in Chromium alike: FLUX.1 dev's transformer as a file of holes, its conversion, and what is kept read back. */
import { conversionOf } from '../src/assets/converted/convert.js';
import { openKeptMatrices, type KeptMatrices } from '../src/assets/converted/kept-matrices.js';
import { layOut, type ConvertedLayout, type RoundedMatrix } from '../src/assets/converted/layout.js';
import { createRoom } from '../src/assets/room.js';
import type { FileTree } from '../src/assets/source.js';
import { openWeights, type WeightFile } from '../src/assets/weights.js';
import { elementCount } from '../src/base/dtype.js';
import { fields } from '../src/base/fields.js';
import { parseFluxTransformerConfig } from '../src/models/configs/flux-transformer.js';
import { UNET_LAYOUT } from '../src/models/layouts/diffusers.js';
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { roundedMatrices } from '../src/pipeline/flux/rounding.js';

/** Names and shapes of the published transformer, and its config; below the project's root. */
export const PUBLISHED = 'test/golden/published/flux-dev.json';

const STEM = 'diffusion_pytorch_model';
export const SPARSE_FILE = `${STEM}.safetensors`;

export interface ConvertTask {
  readonly bits: 4 | 8;
  /** Which share of the matrices is rounded, evenly spread. */
  readonly part: number;
}

/** The first bytes of a file of all tensors of `published` in bfloat16, and how many there are in all. Whatever follows may be a hole. */
export function sparseHeader(published: unknown): { readonly header: Uint8Array<ArrayBuffer>; readonly bytes: number } {
  const { tensors } = published as { readonly tensors: Readonly<Record<string, readonly number[]>> }; // a golden
  const shapes = Object.entries(tensors);
  let end = 0;
  const entries = shapes.map(([name, shape]) => {
    const start = end;
    end += 2 * elementCount(shape);
    return [name, { dtype: 'BF16', shape, data_offsets: [start, end] }] as const;
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const header = new Uint8Array(8 + json.length);
  header.set(json, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(json.length), true);
  return { header, bytes: header.length + end };
}

export interface Conversion {
  readonly file: WeightFile;
  readonly layout: ConvertedLayout;
  /** Of the model, and of what is made of it if all is. */
  readonly matrices: number;
  readonly allBytes: number;
  /** Of the matrices that are rounded, as floats. */
  readonly floatBytes: number;
}

/** @param tree has {@link SPARSE_FILE} */
export async function planConversion(
  tree: FileTree,
  published: unknown,
  { bits, part }: ConvertTask,
): Promise<Conversion> {
  const config = parseFluxTransformerConfig(fields(published, 'flux-dev.json').raw('config'));
  const file = await openWeights(tree, '', [STEM], { layout: UNET_LAYOUT });
  const all = roundedMatrices({ file, config }, bits, webgpuDialect);
  const matrices = all.filter((_, i) => Math.floor((i + 1) * part) > Math.floor(i * part));
  const bytesOf = ({ name }: RoundedMatrix): number => 2 * elementCount(file.find(name)?.shape ?? []);
  return {
    file,
    layout: layOut(file, matrices),
    matrices: all.length,
    allBytes: layOut(file, all).bytes,
    floatBytes: matrices.reduce((sum, matrix) => sum + bytesOf(matrix), 0),
  };
}

/** Makes the file, through the store that `tree` is of. */
export async function makeConversion(tree: FileTree, { file, layout }: Conversion): Promise<KeptMatrices> {
  const conversion = await conversionOf(file, layout, 'transformer');
  if (conversion === undefined || tree.derived === undefined) throw new Error('The file cannot be told from others.');
  return openKeptMatrices(await tree.derived.keep(conversion), layout);
}

/** All of it, as for sessions on a GPU: scales as float16, and the same memory again and again. */
export async function readConversion(kept: KeptMatrices, { layout }: Conversion): Promise<void> {
  const room = createRoom();
  for (const { name, format } of layout.matrices) {
    const matrix = format === 'float16' ? undefined : kept.find(name, format);
    await matrix?.read('float16', undefined, undefined, room.of(matrix.bytes('float16')));
  }
}
