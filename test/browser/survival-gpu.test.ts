/**
 * @file A GPU device that is destroyed in the middle of a picture, and a GPU process that crashes: the picture comes all the same, with the same
 * bytes. Every single call is lost in test/graph/device-loss.test.ts; here the devices are real, one loss of each stage.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import { writeMicroControlNet, writeMicroModel } from '../micro-model.js';
import type { Mishaps, Place, SurvivalPage, SurvivalReport } from './survival-gpu-page.js';

let served: ServedPage;
let folder: string;
let guideImage: string;
let whole: SurvivalReport;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
  const [micro, control] = [join(folder, 'micro'), join(folder, 'control')];
  await writeMicroModel(micro);
  await writeMicroControlNet(control);
  const guide = join(import.meta.dirname, '../golden/cases/controlnet-window-steps/guide-0.png');
  guideImage = `data:image/png;base64,${(await readFile(guide)).toString('base64')}`;
  served = await openServedPage({ micro, control });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/survival-gpu-page.ts' });
  await served.page.waitForFunction(() => 'survivalPage' in globalThis);
  whole = await make();
});
afterAll(async () => {
  await served.close();
  await rm(folder, { recursive: true });
});

const STEPS = 2;

const make = (places: readonly Place[] = [], more: Omit<Mishaps, 'places'> = {}): Promise<SurvivalReport> =>
  served.page.evaluate(
    ([steps, mishaps]) => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).make(steps, mishaps),
    [STEPS, { places, ...more }] as const,
  );

const LOST = [expect.stringContaining('lost') as string];

describe('a lost GPU device', () => {
  it('is replaced, twice in one task too: while it loads, after the last step, while text is read, and at the decoder', async () => {
    expect(whole).toMatchObject({ errors: [], devices: 1, warnings: [] });
    expect(await make(['load', 2])).toEqual({ ...whole, devices: 3, warnings: LOST });
    expect(await make(['text', 'decode'])).toEqual({ ...whole, devices: 5, warnings: LOST });
  });

  it('that is needed no more costs the next task nothing but loading; a GPU process that crashes after a step is replaced too', async () => {
    const kept = await make(['encode']);
    expect(kept).toMatchObject({ errors: [], hash: whole.hash, warnings: [] });
    await served.page.evaluate(
      (steps) => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).begin(steps),
      STEPS,
    );
    const devtools = await served.page.context().browser()?.newBrowserCDPSession();
    await devtools?.send('Browser.crashGpuProcess');
    const report = await served.page.evaluate(() => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).begun());
    expect(report).toEqual({ ...whole, devices: kept.devices + 2, warnings: LOST });
  });

  it('without another is a typed error that says so; once there is one again, pictures come', async () => {
    const { errors, hash } = await make(['text'], { forGood: true });
    expect(errors).toEqual([expect.stringMatching(/^deviceUnavailable: .*no usable graphics adapter/)]);
    expect(hash).toBe('');
    // With a ControlNet: its guide's features, its residuals and its weights go with the device.
    expect(await make([], { guideImage })).toMatchObject({ errors: [], warnings: [] });
    const end = await served.page.evaluate(() => (Reflect.get(globalThis, 'survivalPage') as SurvivalPage).end());
    expect(end).toEqual({ gpuBytes: 0, gpuBuffers: 0 });
  });
});
