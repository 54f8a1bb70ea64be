/**
 * @file GPU memory in a real Chromium, on models small enough for a software adapter: the prediction against what the ledger counts, and the end of
 * what former sizes may hold.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { Harness } from '../../scripts/page/harness.js';
import { writeMicroModel } from '../micro-model.js';

const GOLDENS = join(import.meta.dirname, '../golden');
const TINY = ['sd15-tiny', 'sdxl-tiny'].filter((name) => existsSync(join(GOLDENS, 'models', name)));

let served: ServedPage;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
  await writeMicroModel(folder);
  served = await openServedPage({ micro: folder, goldens: GOLDENS });
});
afterAll(async () => {
  await served.close();
  await rm(folder, { recursive: true });
});

describe('the predicted peak of GPU memory', () => {
  it.each(['micro', ...TINY.map((name) => `goldens/models/${name}`)])(
    'is what the ledger counts for %s',
    async (model) => {
      const { predicted, peakGpuBytes, errors } = await served.page.evaluate(
        (key) => (Reflect.get(globalThis, 'harness') as Harness).measureMemory(key),
        model,
      );
      expect(errors).toEqual([]);
      // Issue: within 15 %. Left out of the prediction are uniforms, a few KB.
      expect(Math.abs(predicted.bytes.peak / peakGpuBytes - 1)).toBeLessThan(0.15);
      expect(predicted).toMatchObject({ fits: true, available: undefined });
    },
  );

  it.skipIf(!existsSync(join(GOLDENS, 'models/flux-dev-tiny'))).each([
    // Everything stays; nothing stays, and three of its blocks take turns.
    { there: undefined, streamedBlocks: 0 },
    { there: 1e6, streamedBlocks: 3 },
  ])('is what the ledger counts for a tiny FLUX.1 with $there bytes', async ({ there, streamedBlocks }) => {
    const { predicted, peakGpuBytes, errors } = await served.page.evaluate(
      ([key, bytes]) => (Reflect.get(globalThis, 'harness') as Harness).measureMemory(key, bytes),
      ['goldens/models/flux-dev-tiny', there] as const,
    );
    expect(errors).toEqual([]);
    expect(predicted.step).toMatchObject({ blocks: 5, streamedBlocks });
    expect(Math.abs(predicted.bytes.peakTaken / peakGpuBytes - 1)).toBeLessThan(0.005);
  });
});

describe('a device that is full of what former sizes left', () => {
  it('makes place for a new one, on which the same picture has the same bytes', async () => {
    const { hashes, held } = await served.page.evaluate(() =>
      (Reflect.get(globalThis, 'harness') as Harness).outgrow('micro'),
    );
    const [[, first] = [0, NaN], ...others] = held;
    const [beforeLast, last] = [others.at(-2), others.at(-1)];
    // The bound is twice the first kind's here: what goes beyond it is given up before the next kind begins.
    const full = held.filter(([device, bytes]) => device === 1 && bytes > 2 * first);
    expect(full.length, JSON.stringify(held)).toBe(1);
    expect([beforeLast?.[0], last?.[0]]).toEqual([2, 2]);
    expect(beforeLast?.[1]).toBeLessThan(full[0]?.[1] ?? 0);
    expect(hashes[1]).toBe(hashes[0]);
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
  });
});
