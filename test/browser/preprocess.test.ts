/** @file Preprocessors with networks on WebGPU in a real Chromium: the same guides as on the CPU, and no operator falls back to it. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import { readGray, readPicture } from '../unit/image/preprocess/support.js';
import type { PageRun } from './preprocess-page.js';

const GOLDEN = join(import.meta.dirname, '../golden/unit');

let served: ServedPage;
beforeAll(async () => {
  served = await openServedPage({ goldens: GOLDEN });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/preprocess-page.ts' });
  await served.page.waitForFunction(() => 'preprocessInPage' in globalThis);
});
afterAll(() => served.close());

/** Runs `preprocessInPage` of preprocess-page.ts. */
function inPage(run: PageRun): Promise<readonly number[]> {
  return served.page.evaluate(
    (argument) =>
      (Reflect.get(globalThis, 'preprocessInPage') as (run: PageRun) => Promise<readonly number[]>)(argument),
    run,
  );
}

/** What is held on the GPU: after a run, the buffers that ONNX Runtime keeps for the next one. */
function bytesLeft(): Promise<number> {
  return served.page.evaluate(() => (Reflect.get(globalThis, 'bytesLeft') as () => Promise<number>)());
}

describe('preprocessors on WebGPU', () => {
  it.each([
    [
      'softedge',
      'darkroom:softedge@1',
      'preprocess-edges/ControlNetHED.safetensors',
      'preprocess-edges',
      'picture.png',
      'softedge.png',
    ],
    [
      'lineart',
      'darkroom:lineart@1',
      'preprocess-edges/sk_model.safetensors',
      'preprocess-edges',
      'picture.png',
      'lineart.png',
    ],
    [
      'lineart_anime',
      'darkroom:lineart-anime@1',
      'preprocess-edges/netG.safetensors',
      'preprocess-edges',
      'picture-256.png',
      'lineart-anime.png',
    ],
    ['depth', 'darkroom:depth@1', 'preprocess-depth/model/', 'preprocess-depth', 'picture.png', 'depth.png'],
    ['openpose', 'darkroom:openpose@1', 'preprocess-pose/model/', 'preprocess-pose', 'picture.png', 'found-whole.png'],
  ] as const)('%s', async (type, reference, files, folder, file, golden) => {
    const { width, height, rgb } = await readPicture(folder, file);
    const made = await inPage({ type, reference, files, picture: { width, height, rgb: [...rgb] } });
    const colours = type === 'openpose';
    const expected = colours ? (await readPicture(folder, golden)).rgb : (await readGray(folder, golden)).values;
    const got = colours ? made : made.filter((_, i) => i % 3 === 0);
    expect(got).toHaveLength(expected.length);
    const differences = got.map((value, i) => Math.abs(value - (expected[i] ?? NaN)));
    const share = (more: number): number => differences.filter((by) => by > more).length / differences.length;
    // Fractions are dropped: one level where a value is at the border. Hands: OpenCV's caps of thick lines.
    expect(colours ? 0 : share(1)).toBe(0);
    expect(share(0)).toBeLessThan(colours ? 0.02 : 0.002);
  });

  it('takes no more memory the second time', async () => {
    const { width, height, rgb } = await readPicture('preprocess-pose', 'picture.png');
    const again = {
      type: 'openpose',
      reference: 'darkroom:openpose@1',
      files: 'preprocess-pose/model/',
      picture: { width, height, rgb: [...rgb] },
    } as const;
    await inPage(again);
    const before = await bytesLeft();
    await inPage(again);
    expect(await bytesLeft()).toBe(before);
  });
});
