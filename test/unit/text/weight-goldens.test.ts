/** @file Every golden of prompt weighting: compel's and sd_embed's own parses, rows of ids, and states from stored encoder results. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { isWithin } from '../../golden-runner/report.js';
import type { GoldenFolder } from '../../golden-runner/files.js';
import { runWeights } from '../../golden-runner/run-weights.js';

const root = fileURLToPath(new URL('../../golden/', import.meta.url));
const bytes = (path: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(root + path));

const folder: GoldenFolder = {
  read: (path) => Promise.resolve(bytes(path)),
  tree: (path) => ({
    name: path,
    open: (file) => {
      try {
        return Promise.resolve(memorySource(file, bytes(`${path}/${file}`)));
      } catch {
        return Promise.resolve(undefined);
      }
    },
  }),
};

describe('goldens', async () => {
  const outcomes = await runWeights(folder);
  it.each(outcomes)('$name', ({ comparisons }) => {
    expect(comparisons.length).toBeGreaterThan(50);
    expect(comparisons.filter((comparison) => !isWithin(comparison))).toEqual([]);
  });
});
