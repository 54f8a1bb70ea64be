/**
 * @file End to end in a real Chromium. On the GPU a representative of everything (a software adapter takes a minute a case; all of them:
 * `npm run goldens -- test/golden --backend webgpu`), with every intermediate; operators that would fall back to the CPU fail the case.
 * On the CPU build, as a page without WebGPU runs it, the same cases.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { Harness } from '../../scripts/page/harness.js';
import { describeOutcome } from '../golden-runner/report.js';

let served: ServedPage;
beforeAll(async () => {
  served = await openServedPage({ goldens: join(import.meta.dirname, '../golden') });
});
afterAll(() => served.close());

/** On the CPU build. */
const CASES = [
  'sd15-euler',
  'sd2v-default',
  'sdxl-long-prompt',
  'refiner-cfg-1',
  'vae-taesd',
  'singlefile-sdxl',
  'lora-locon',
  'all-sd15',
];

/** On the GPU: one of SDXL, of its refiner, and one of SD 1.5 with a LoRA, a ControlNet, embeddings and another VAE. */
const GPU_CASES = ['sdxl-long-prompt', 'refiner-cfg-1', 'all-sd15'];

describe.each([
  ['webgpu', GPU_CASES],
  ['wasm', CASES],
] as const)('goldens in Chromium, %s', (backend, cases) => {
  it.each(cases)('%s', async (name) => {
    const outcome = await served.page.evaluate(
      ([n, b]) => (Reflect.get(globalThis, 'harness') as Harness).runGolden(n, b),
      [name, backend] as const,
    );
    expect(outcome.status, describeOutcome(outcome)).toBe('passed');
    expect(outcome.comparisons.length).toBeGreaterThan(6);
  });
});
