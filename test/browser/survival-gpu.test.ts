/** @file A GPU device that is destroyed in the middle of a picture, and a GPU process that crashes: the picture comes all the same, with the same bytes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import { writeMicroModel } from '../micro-model.js';
import type { Place, SurvivalPage, SurvivalReport } from './survival-gpu-page.js';

let served: ServedPage;
let folder: string;
let whole: SurvivalReport;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
  await writeMicroModel(folder);
  served = await openServedPage({ micro: folder });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/survival-gpu-page.ts' });
  await served.page.waitForFunction(() => 'survivalPage' in globalThis);
  whole = await make();
});
afterAll(async () => {
  await served.close();
  await rm(folder, { recursive: true });
});

const STEPS = 3;

const make = (places: readonly Place[] = []): Promise<SurvivalReport> =>
  served.page.evaluate(([steps, at]) => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).make(steps, at), [
    STEPS,
    places,
  ] as const);

describe('a lost GPU device', () => {
  it('is replaced, twice in one task too: while it loads, after a step, and at the decoder', async () => {
    expect(whole).toMatchObject({ errors: [], devices: 1, warnings: [] });
    const twice = await make(['load', 2]);
    expect(twice).toMatchObject({ errors: [], devices: 3, hash: whole.hash });
    expect(twice.warnings).toEqual([expect.stringContaining('lost')]);
    const once = await make(['decode']);
    expect(once).toMatchObject({ errors: [], devices: 4, hash: whole.hash });
    expect(once.warnings).toEqual([expect.stringContaining('lost')]);
  });

  it('between two tasks costs nothing but loading', async () => {
    await served.page.evaluate(() => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).loseIdle());
    expect(await make()).toEqual({ ...whole, devices: 5 });
  });

  it('of a GPU process that crashes is replaced too', async () => {
    const { devices } = await make();
    await served.page.evaluate(
      (steps) => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).begin(steps),
      STEPS,
    );
    const devtools = await served.page.context().browser()?.newBrowserCDPSession();
    await devtools?.send('Browser.crashGpuProcess');
    const report = await served.page.evaluate(() => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).end());
    expect(report).toMatchObject({ errors: [], devices: devices + 1, hash: whole.hash });
    expect(report?.warnings).toEqual([expect.stringContaining('lost')]);
  });
});
