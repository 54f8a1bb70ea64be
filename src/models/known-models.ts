/** @file All published models that are known, and how to find one by its identifier or by its place on the Hub. */
import { airKey, parseAir } from './air.js';
import { CONTROLNETS } from './cards/controlnet.js';
import { FEW_STEP } from './cards/few-step.js';
import { FLUX_MODELS } from './cards/flux.js';
import type { KnownModel } from './cards/known.js';
import { SDXL } from './cards/sdxl.js';
import { STABLE_DIFFUSION } from './cards/stable-diffusion.js';
import { recordOf, type ModelRecord } from './details.js';
import { hubUrl, type HubPlace } from './hub.js';

export const KNOWN_MODELS: readonly KnownModel[] = [
  ...STABLE_DIFFUSION,
  ...SDXL,
  ...FEW_STEP,
  ...CONTROLNETS,
  ...FLUX_MODELS,
];

/** @param key from `airKey` */
export function knownByKey(key: string): KnownModel | undefined {
  return KNOWN_MODELS.find(({ air }) => airKey(parseAir(air)) === key);
}

/** The model whose files are at `place`: the whole repo, or the very file. */
export function knownByPlace(place: HubPlace): KnownModel | undefined {
  return KNOWN_MODELS.find(
    (known) =>
      known.kind !== 'elsewhere' &&
      known.hub?.repo === place.repo &&
      (known.hub.revision ?? 'main') === place.revision &&
      known.hub.file === place.path,
  );
}

/** Where a known model's files are on the Hub; undefined where no copy is known. */
export function hubAddress(known: KnownModel): string | undefined {
  if (known.kind === 'elsewhere' || known.hub === undefined) return undefined;
  const { repo, revision = 'main', file } = known.hub;
  return hubUrl({ repo, revision, path: file });
}

/** What is known, in the form of what is said when a model is registered. */
export function recordOfKnown(known: KnownModel): ModelRecord {
  switch (known.kind) {
    case 'checkpoint': {
      const { name, family, licence, native, defaults, distillation, prediction } = known;
      const [width, height] = native;
      const card = { name, family, licence, native, defaults: { width, height, ...defaults } };
      const overrides = prediction === undefined ? {} : { prediction };
      return { category: 'checkpoint', ...recordOf(card, distillation, overrides) };
    }
    case 'controlnet': {
      const { name, family, licence, unionMode } = known;
      const overrides = unionMode === undefined ? {} : { unionMode };
      return { category: 'controlnet', card: { name, family, licence }, overrides };
    }
    case 'elsewhere':
      return { card: { name: known.name }, overrides: {} };
    default:
      return known satisfies never;
  }
}
