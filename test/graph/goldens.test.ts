/** @file End to end on the CPU: every case of Stable Diffusion and FLUX.1, each intermediate and the picture against diffusers. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { nodeEngines, nodeFolder } from '../golden-runner/node.js';
import { describeOutcome, isWithin } from '../golden-runner/report.js';
import { runCase } from '../golden-runner/run-case.js';
import { runNoise, runTokens } from '../golden-runner/run-tables.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const engines = nodeEngines(GOLDEN);
afterAll(() => engines.dispose());

/** Cases of families or parameters that are not built yet are in the folder for their intermediates only. */
const cases = readdirSync(join(GOLDEN, 'cases')).filter((name) =>
  /^(sd15|sd2v|sdxl|refiner|fewstep|vae|singlefile|lora|embedding|controlnet|all|flux)-/.test(name),
);

describe('goldens, wasm', () => {
  it('has cases', () => expect(cases.length).toBeGreaterThanOrEqual(64));

  it.each(cases)('%s', async (name) => {
    const outcome = await runCase(nodeFolder(GOLDEN), name, engines.engineFor);
    expect(outcome.status, describeOutcome(outcome)).toBe('passed');
    expect(outcome.comparisons.length).toBeGreaterThan(6);
  });

  it('reports a picture that is not the golden one', async () => {
    const folder = nodeFolder(GOLDEN);
    const outcome = await runCase(
      { ...folder, read: (path) => folder.read(path.replace('sd15-cfg-1/image.png', 'sd15-euler/image.png')) },
      'sd15-cfg-1',
      engines.engineFor,
    );
    expect(outcome.status).toBe('failed');
    expect(outcome.comparisons.filter((c) => !isWithin(c)).map((c) => c.name)).toEqual(['pixels']);
  });

  it('says of a case beyond this build that it is not supported, instead of failing', async () => {
    const outcome = await runCase(nodeFolder(GOLDEN), 'img2img-half', engines.engineFor);
    expect(outcome).toMatchObject({ status: 'unsupported', message: expect.stringContaining('seedImage') as string });
  });

  it('noise', async () => expect(await runNoise(nodeFolder(GOLDEN))).toMatchObject({ status: 'passed' }));

  it('tokens', async () => {
    for (const outcome of await runTokens(nodeFolder(GOLDEN)))
      expect(outcome.status, describeOutcome(outcome)).toBe('passed');
  });
});
