/** @file All fuzz targets. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { configTargets, type Golden } from './fuzz-configs.js';
import { detailsTarget } from './fuzz-details.js';
import { fluxTargets } from './fuzz-flux.js';
import { ggufTargets } from './fuzz-gguf.js';
import { pictureTargets } from './fuzz-pictures.js';
import { requestTargets } from './fuzz-requests.js';
import type { Target } from './fuzz-target.js';
import { t5TokenizerTarget } from './fuzz-t5.js';
import { weightTargets } from './fuzz-weights.js';

const at = (path: string): URL => new URL(`../../test/golden/${path}`, import.meta.url);

const golden: Golden = {
  read: (path) => new Uint8Array(readFileSync(at(path))),
  list: (folder) =>
    readdirSync(at(folder), { recursive: true, encoding: 'utf8' })
      .map((path) => path.replaceAll('\\', '/'))
      .filter((path) => statSync(at(`${folder}/${path}`)).isFile()),
};

/** @param only a kind, or the beginning of several; all without it */
export function fuzzTargets(only = ''): readonly Target[] {
  const all = [
    ...weightTargets(golden),
    ...ggufTargets(golden),
    ...fluxTargets(golden),
    ...configTargets(golden),
    t5TokenizerTarget(golden),
    detailsTarget,
    ...pictureTargets,
    ...requestTargets,
  ];
  return all.filter(({ kind }) => kind.startsWith(only));
}
