/** @file The memory prediction against what the ledger counts in a real Chromium, on models small enough for a software adapter. */
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
});
