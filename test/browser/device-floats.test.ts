/** @file Floats of 16 and 8 bits that the GPU converts, in a real Chromium: every value, any number of them, and nothing beside them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { FloatsReport } from './device-floats-page.js';

let served: ServedPage;
beforeAll(async () => {
  served = await openServedPage({});
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/device-floats-page.ts' });
  await served.page.waitForFunction(() => 'floatsPage' in globalThis);
});
afterAll(() => served.close());

const call = (name: string, ...args: readonly unknown[]): Promise<FloatsReport> =>
  served.page.evaluate(
    ([n, a]) =>
      (Reflect.get(globalThis, 'floatsPage') as Record<string, (...values: readonly unknown[]) => unknown>)[n]?.(...a),
    [name, args] as const,
  ) as Promise<FloatsReport>;

describe('floats converted for a device that is software', () => {
  it.each([
    ['F16', undefined],
    ['BF16', undefined],
    ['F8_E4M3', undefined],
    ['F8_E5M2', undefined],
    ['F8_E4M3', 0.0123],
  ] as const)('%s → float32, times %s: are what the browser makes of them', async (from, scale) => {
    const report = await call('everyValue', 'host', from, 'float32', 'all', scale);
    expect(report.values).toBeGreaterThan(30_000);
    expect(report.wrong).toEqual([]);
    expect(report.around.filter((bits) => bits !== 0)).toEqual([]);
  });

  it('more than are sent at a time', async () => {
    const report = await call('manyValues', 'host', 'F16', 'float32', 5_000_001);
    expect([report.values, report.wrong]).toEqual([5_000_001, []]);
    expect(report.around.filter((bits) => bits !== 0)).toEqual([]);
  });
});

describe('floats converted on the GPU', () => {
  it.each<readonly [string, string, string, boolean, number | undefined]>([
    ['F16', 'float32', 'all', false, undefined],
    ['BF16', 'float32', 'all', false, undefined],
    ['BF16', 'float16', 'fitting', false, undefined],
    ['BF16', 'float16', 'all', true, undefined],
    ['F8_E4M3', 'float32', 'all', false, undefined],
    ['F8_E4M3', 'float16', 'all', false, undefined],
    ['F8_E5M2', 'float32', 'all', false, undefined],
    ['F8_E5M2', 'float16', 'all', false, undefined],
    ['F8_E4M3', 'float32', 'all', false, 0.0123],
    ['F8_E4M3', 'float16', 'all', false, 0.0123],
    ['F8_E4M3', 'float16', 'all', false, -3.7e-7], // among the results are subnormal numbers, and zeros
    ['F8_E4M3', 'float16', 'all', true, 777],
    ['F8_E5M2', 'float16', 'all', true, 1.2],
  ])('%s → %s, %s values: are what the browser makes of them', async (from, to, only, overflows, scale) => {
    const report = await call('everyValue', 'device', from, to, only, scale);
    expect(report.values).toBeGreaterThan(30_000);
    expect(report.wrong).toEqual([]);
    expect(report.around.filter((bits) => bits !== 0)).toEqual([]);
    expect(report.overflowed).toEqual([overflows, false]); // said once
  });

  it.each([
    ['F16', 'float32'],
    ['BF16', 'float16'],
    ['F8_E4M3', 'float16'],
  ] as const)('%s → %s: more than are sent at a time', async (from, to) => {
    const report = await call('manyValues', 'device', from, to, 5_000_001);
    expect(report.values).toBe((from === 'F8_E4M3' ? 2 : 1) * 5_000_001);
    expect(report.wrong).toEqual([]);
    expect(report.around.filter((bits) => bits !== 0)).toEqual([]);
  });
});
