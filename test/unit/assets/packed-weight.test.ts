/** @file Matrices packed while they are read, a few rows at a time: the bytes of ONNX Runtime's quantiser; little is held; what is no matrix. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { readPackedWeight } from '../../../src/assets/packed-weight.js';
import type { ByteSource } from '../../../src/assets/source.js';
import { openWhole } from '../../../src/assets/weight-tensors.js';
import { viewWeights, type WeightFile } from '../../../src/assets/weights.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { float32Bytes, problemOf, safetensors } from './support.js';

const FOLDER = new URL('../../golden/unit/matmulnbits/', import.meta.url);
const bytes = new Uint8Array(readFileSync(new URL('tensors.safetensors', FOLDER)));
const { shapes } = JSON.parse(readFileSync(new URL('case.json', FOLDER), 'utf8')) as {
  readonly shapes: readonly {
    readonly N: number;
    readonly K: number;
    readonly bits: 4 | 8;
    readonly block: number;
    readonly symmetric: boolean;
  }[];
};

const open = async (source: ByteSource): Promise<WeightFile> => viewWeights('w', await openWhole(source), UNET_LAYOUT);

describe.each(shapes.map((shape, i) => [i, shape] as const))('golden %i', (i, { bits, block, symmetric, N, K }) => {
  it.each([1, 4 * K * 3, undefined])('in pieces of %s bytes', async (maxBytes) => {
    let longest = 0;
    const memory = memorySource('w', bytes);
    const source: ByteSource = {
      ...memory,
      read: (start, end, ...more) => {
        longest = Math.max(longest, end - start);
        return memory.read(start, end, ...more);
      },
    };
    const file = await open(source);
    longest = 0;
    const format = { bits, block, zeros: !symmetric };
    const { codes, zeros } = await readPackedWeight(file, `${i}.W`, format, maxBytes === undefined ? {} : { maxBytes });
    expect(longest).toBeLessThanOrEqual(Math.max(maxBytes ?? 4 * N * K, 4 * K));
    expect(codes).toEqual((await file.bytes(`${i}.B`)).slice());
    expect(zeros).toEqual(symmetric ? undefined : (await file.bytes(`${i}.zero_points`)).slice());
  });
});

it('refuses what is no matrix of finite floats', async () => {
  const file = await open(
    memorySource(
      'f',
      safetensors({
        vector: { dtype: 'F32', shape: [2], bytes: float32Bytes([1, 2]) },
        whole: { dtype: 'I8', shape: [1, 2], bytes: Uint8Array.of(1, 2) },
        endless: { dtype: 'F32', shape: [1, 2], bytes: float32Bytes([1, Infinity]) },
      }),
    ),
  );
  const of = (name: string): unknown =>
    problemOf(() => readPackedWeight(file, name, { bits: 4, block: 32, zeros: true }));
  for (const name of ['vector', 'whole', 'endless']) expect(await of(name)).toMatchObject({ code: 'invalidModelFile' });
  expect(await of('absent')).toMatchObject({ code: 'missingWeight' });
});
