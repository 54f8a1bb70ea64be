/** @file Floats of 16 bits that the GPU converts, in a real Chromium: every value, any number of them, and nothing beside them. */
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

describe('floats converted on the GPU', () => {
  it.each([
    ['F16', 'float32', 'all', false],
    ['BF16', 'float32', 'all', false],
    ['BF16', 'float16', 'fitting', false],
    ['BF16', 'float16', 'all', true],
  ] as const)('%s → %s, %s values: are what the browser makes of them', async (from, to, only, overflows) => {
    const report = await call('everyValue', from, to, only);
    expect(report.values).toBeGreaterThan(30_000);
    expect(report.wrong).toEqual([]);
    expect(report.around.filter((bits) => bits !== 0)).toEqual([]);
    expect(report.overflowed).toEqual([overflows, false]); // said once
  });

  it.each([
    ['F16', 'float32'],
    ['BF16', 'float16'],
  ] as const)('%s → %s: more than are sent at a time', async (from, to) => {
    const report = await call('manyValues', from, to, 5_000_001);
    expect(report.values).toBe(5_000_001);
    expect(report.wrong).toEqual([]);
    expect(report.around.filter((bits) => bits !== 0)).toEqual([]);
  });
});
