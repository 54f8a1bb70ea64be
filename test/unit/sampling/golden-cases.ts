/** @file The scheduler goldens for these tests: the committed folder, read by the code of the golden runner. */
import { readFile } from 'node:fs/promises';
import type { GoldenFolder } from '../../golden-runner/files.js';
import { openSchedulerGoldens } from '../../golden-runner/scheduler-goldens.js';
import { golden } from './safetensors-reader.js';

export { closedFormModel } from '../../golden-runner/scheduler-goldens.js';

/** `test/golden/`, without the models in it. */
export const goldenFolder: GoldenFolder = {
  read: async (path) => new Uint8Array(await readFile(golden(path))),
  tree: (path) => {
    throw new Error(`no model is needed here: ${path}`);
  },
};

export const goldens = await openSchedulerGoldens(goldenFolder);
export const { names, book } = goldens;

/** Largest absolute difference. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs((a[i] ?? NaN) - (b[i] ?? NaN));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

/** Largest magnitude. */
export const maxAbs = (a: ArrayLike<number>): number => distance(a, new Float64Array(a.length));
