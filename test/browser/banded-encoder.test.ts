/** @file The encoder in bands on WebGPU in a real Chromium, against the posterior that diffusers gives of the whole picture. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import { decodePng } from '../../src/image/png.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';
import type { EncodeRun } from './banded-encoder-page.js';

const GOLDEN = join(import.meta.dirname, '../golden');
let served: ServedPage;
beforeAll(async () => {
  served = await openServedPage({ goldens: GOLDEN });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/banded-encoder-page.ts' });
  await served.page.waitForFunction(() => 'encoderPage' in globalThis);
});
afterAll(() => served.close());

interface EncoderPage {
  encode(run: EncodeRun): Promise<readonly { readonly mean: readonly number[]; readonly std: readonly number[] }[]>;
}

it('gives what it gives at once, and what diffusers gives', async () => {
  const golden = await readTensors(nodeFolder(GOLDEN), 'cases/img2img-half/tensors.safetensors');
  const { width, height, channels, data } = await decodePng(
    await nodeFolder(GOLDEN).read('cases/img2img-half/seed-image.png'),
  );
  const rgb = Array.from({ length: 3 * width * height }, (_, i) => data[Math.floor(i / 3) * channels + (i % 3)] ?? 0);
  const run: EncodeRun = { model: 'sd15-tiny', width, height, rgb, tiles: ['never', 5, 8, 'always'] };
  const [whole, ...cutUp] = await served.page.evaluate(
    (given) => (Reflect.get(globalThis, 'encoderPage') as EncoderPage).encode(given),
    run,
  );
  const std = Float32Array.from(golden.get('encode.0.logvar') ?? [], (value) => Math.exp(0.5 * value));
  expect(cutUp).toHaveLength(3);
  for (const moments of cutUp) {
    for (const result of [
      compare('mean', moments.mean, golden.get('encode.0.mean') ?? [], { absolute: 1e-4, relative: 0 }),
      compare('std', moments.std, std, { absolute: 1e-4, relative: 0 }),
      compare('mean at once', moments.mean, whole?.mean ?? [], { absolute: 2e-5, relative: 0 }),
      compare('std at once', moments.std, whole?.std ?? [], { absolute: 2e-5, relative: 0 }),
    ])
      expect(isWithin(result), JSON.stringify(result)).toBe(true);
  }
});
