/** @file All fuzz targets. */
import { readFileSync } from 'node:fs';
import { configTargets, type ReadGolden } from './fuzz-configs.js';
import { pictureTargets } from './fuzz-pictures.js';
import { requestTargets } from './fuzz-requests.js';
import type { Target } from './fuzz-target.js';
import { weightTargets } from './fuzz-weights.js';

const read: ReadGolden = (path) => new Uint8Array(readFileSync(new URL(`../../test/golden/${path}`, import.meta.url)));

/** @param only a kind, or the beginning of several; all without it */
export function fuzzTargets(only = ''): readonly Target[] {
  const all = [...weightTargets(read), ...configTargets(read), ...pictureTargets, ...requestTargets];
  return all.filter(({ kind }) => kind.startsWith(only));
}
