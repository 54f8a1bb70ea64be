/** @file All fuzz targets. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { bpeTarget } from './fuzz-bpe.js';
import { configTargets, type Golden } from './fuzz-configs.js';
import { detailsTarget } from './fuzz-details.js';
import { fluxTargets } from './fuzz-flux.js';
import { foreignTarget } from './fuzz-foreign.js';
import { ggufTargets } from './fuzz-gguf.js';
import { growthTarget } from './fuzz-growth.js';
import { headerTextTarget } from './fuzz-header-text.js';
import { jsonTarget } from './fuzz-json.js';
import { pictureTargets } from './fuzz-pictures.js';
import { pngStructureTarget } from './fuzz-png-structure.js';
import { promptsTarget } from './fuzz-prompts.js';
import { requestTargets } from './fuzz-requests.js';
import type { Target } from './fuzz-target.js';
import { t5TokenizerTarget } from './fuzz-t5.js';
import { boundsTarget, valuesTarget } from './fuzz-values.js';
import { weightTargets } from './fuzz-weights.js';

const at = (path: string): URL => new URL(`../../test/golden/${path}`, import.meta.url);

const golden: Golden = {
  read: (path) => new Uint8Array(readFileSync(at(path))),
  list: (folder) =>
    readdirSync(at(folder), { recursive: true, encoding: 'utf8' })
      .map((path) => path.replaceAll('\\', '/'))
      .filter((path) => statSync(at(`${folder}/${path}`)).isFile()),
};

/** @param only kinds or their beginnings, with commas between; all without it */
export function fuzzTargets(only = ''): readonly Target[] {
  const all = [
    ...weightTargets(golden),
    headerTextTarget,
    jsonTarget,
    foreignTarget,
    ...ggufTargets(golden),
    ...fluxTargets(golden),
    ...configTargets(golden),
    t5TokenizerTarget(golden),
    bpeTarget,
    promptsTarget(golden),
    detailsTarget,
    ...pictureTargets,
    pngStructureTarget,
    ...requestTargets,
    valuesTarget,
    boundsTarget,
    growthTarget(golden),
  ];
  const beginnings = only.split(',');
  return all.filter(({ kind }) => beginnings.some((beginning) => kind.startsWith(beginning)));
}
