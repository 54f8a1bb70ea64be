/**
 * @file Test tiers, run one after the other: `unit` (Node only), `graph` (Node + ONNX Runtime wasm), `package` (the packed tarball in a
 * fresh app), `browser` (a real Chromium driven by Playwright, its path in `CHROMIUM_PATH`).
 */
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files at once where each computes without a break: on one core mostly, since programs are compiled and sessions are made there. */
const AT_ONCE = 2;

/** Those that take minutes, longest first: what begins last should not end last. Others in the order of their length. */
const LONG = [
  'test/browser/goldens.test.ts',
  'test/browser/memory.test.ts',
  'test/browser/demo-generate.test.ts',
  'test/browser/runtime.test.ts',
  'test/browser/survival-gpu.test.ts',
  'test/browser/converted.test.ts',
  'test/browser/privacy.test.ts',
  'test/graph/goldens.test.ts',
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = LONG.findIndex((file) => moduleId.endsWith(file));
      return found < 0 ? LONG.length : found;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b)); // stable
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'graph',
          include: ['test/graph/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          maxWorkers: AT_ONCE,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'package',
          include: ['test/package/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
          maxWorkers: AT_ONCE,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
