/** @file Reading a goldens folder, wherever it is: JSON, safetensors and PNG through one function that gives bytes. */
import { memorySource } from '../../src/assets/byte-source.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import { openWhole } from '../../src/assets/weight-tensors.js';
import { viewWeights, type WeightFile } from '../../src/assets/weights.js';
import { sameShape } from '../../src/models/layouts/layout.js';
import type { FileTree } from '../../src/assets/source.js';

/** A goldens folder. Paths are relative to it, with `/`. */
export interface GoldenFolder {
  read(path: string): Promise<Uint8Array<ArrayBuffer>>;
  /** A model folder as the library sees it. */
  tree(path: string): FileTree;
}

export async function readGoldenJson(folder: GoldenFolder, path: string): Promise<unknown> {
  return JSON.parse(new TextDecoder().decode(await folder.read(path)));
}

/** Values of every F32, F64, I32 and I64 tensor of a file, as numbers. */
export async function readTensors(folder: GoldenFolder, path: string): Promise<ReadonlyMap<string, Float64Array>> {
  const bytes = await folder.read(path);
  const { tensors } = await openSafetensors(memorySource(path, bytes));
  const out = new Map<string, Float64Array>();
  for (const [name, { dtype, start, end }] of tensors) {
    const data = bytes.slice(start, end).buffer;
    if (dtype === 'F32') out.set(name, Float64Array.from(new Float32Array(data)));
    else if (dtype === 'F64') out.set(name, new Float64Array(data));
    else if (dtype === 'I32') out.set(name, Float64Array.from(new Int32Array(data)));
    else if (dtype === 'U32') out.set(name, Float64Array.from(new Uint32Array(data)));
    else if (dtype === 'I64') out.set(name, Float64Array.from(new BigInt64Array(data), Number));
  }
  return out;
}

/** One file of weights, safetensors or GGUF, under its own names. */
export async function openGoldenWeights(folder: GoldenFolder, path: string): Promise<WeightFile> {
  const source = memorySource(path, await folder.read(path));
  return viewWeights(path, await openWhole(source), { places: (name) => [{ name }], shape: sameShape });
}

/** The bytes of the tensors of a safetensors file, by name. */
export async function readRaw(folder: GoldenFolder, path: string): Promise<(name: string) => Uint8Array> {
  const bytes = await folder.read(path);
  const { tensors } = await openSafetensors(memorySource(path, bytes));
  return (name) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`${path} has no tensor ${name}`);
    return bytes.slice(tensor.start, tensor.end);
  };
}
