/** @file For the tests of `base/`: the bytes of the tensors of a golden file. */
import { readFileSync } from 'node:fs';
import { memorySource } from '../../../src/assets/byte-source.js';
import { openSafetensors } from '../../../src/assets/safetensors.js';

/** Name → bytes; `path` is below test/golden. */
export async function openGolden(path: string): Promise<(name: string) => Uint8Array> {
  const bytes = new Uint8Array(readFileSync(new URL(`../../golden/${path}`, import.meta.url)));
  const { tensors } = await openSafetensors(memorySource(path, bytes));
  return (name) => {
    const found = tensors.get(name);
    if (found === undefined) throw new Error(`${path} has no ${name}`);
    return bytes.subarray(found.start, found.end);
  };
}
