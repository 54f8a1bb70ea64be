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
  whole = await survive();
});
afterAll(async () => {
  await served.close();
  await rm(folder, { recursive: true });
});

const survive = (place?: Place, idle = false): Promise<SurvivalReport> =>
  served.page.evaluate(
    ([at, between]) => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).survive('micro', at, between),
    [place, idle] as const,
  );

describe('a lost GPU device', () => {
  it.each(['load', 2, 'decode'] as const)('at %s is replaced, and the picture has the same bytes', async (place) => {
    expect(whole).toMatchObject({ errors: [], devices: 1, warnings: [] });
    const report = await survive(place);
    expect(report).toMatchObject({ errors: [], devices: 2, hashes: whole.hashes });
    expect(report.warnings).toEqual([expect.stringContaining('lost')]);
  });

  it('between two tasks costs nothing but loading', async () => {
    const report = await survive(undefined, true);
    expect(report).toEqual({ ...whole, devices: 2 });
  });

  it('of a GPU process that crashes is replaced too', async () => {
    const begin = (): Promise<void> =>
      served.page.evaluate(() => {
        const page = Reflect.get(globalThis, 'survivalPage') as SurvivalPage;
        page.running = page.begin('micro', 2);
        return page.running.reached;
      });
    const end = (): Promise<SurvivalReport | undefined> =>
      served.page.evaluate(() => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).running?.end);
    await begin();
    const calm = await end();
    await begin();
    const killer = await served.page.context().newPage();
    await killer.goto('chrome://gpucrash').catch(() => undefined); // never answers
    const report = await end();
    await killer.close();
    expect(report).toMatchObject({ errors: [], devices: 2, hashes: calm?.hashes });
    expect(report?.warnings).toEqual([expect.stringContaining('lost')]);
  });
});
