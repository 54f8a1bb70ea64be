/** @file A model's files + what is said of it elsewhere → one card and one scheduler config. The order of who is heard is here. */
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import type { CardFields, ModelCard } from './card.js';
import { mergeCards, type ModelRecord } from './details.js';
import { LATENT_RGB, type ModelFamily } from './families.js';

/** What this needs of a model's files; all of it, more may be there. */
export interface DescribedFiles {
  readonly name: string;
  readonly architecture: 'sd' | 'sdxl' | 'sdxl-refiner' | 'flux';
  /** The folder's own `card.json`. */
  readonly card: ModelCard | undefined;
  /** The folder's own `scheduler_config.json`. */
  readonly scheduler: unknown;
}

/** Families that the files of an architecture may be of, the likelier first. */
const FAMILIES_OF = {
  sd: ['sd1', 'sd2'],
  sdxl: ['sdxl'],
  'sdxl-refiner': ['sdxl-refiner'],
  flux: ['flux'],
} as const satisfies Readonly<Record<DescribedFiles['architecture'], readonly ModelFamily[]>>;

/**
 * `files` with the card and scheduler config that hold. Heard first: overrides; then the folder's own `card.json` and
 * `scheduler_config.json`; then what was said when registering, or is known of the identifier. The card stays absent where nobody
 * says anything.
 * @throws invalidModelConfig where the family that is said is not the files'
 */
export function describeFiles<F extends DescribedFiles>(files: F, model: ModelRecord & { readonly reference: string }): F {
  const { overrides } = model;
  const said: CardFields = mergeCards(model.card, files.card ?? {});
  const fields = mergeCards(said, {
    ...(overrides.family === undefined ? {} : { family: overrides.family }),
    ...(overrides.defaults === undefined ? {} : { defaults: overrides.defaults }),
  });
  checkFamily(files, model.reference, fields.family);
  const isSilent = Object.keys(fields).length === 0;
  return {
    ...files,
    card: isSilent ? undefined : completeCard(fields, files, files.card?.air ?? model.reference),
    scheduler: schedulerOf(files.scheduler, model),
  };
}

function completeCard(fields: CardFields, { architecture, name }: DescribedFiles, air: string): ModelCard {
  const family = fields.family ?? FAMILIES_OF[architecture][0];
  const { latentRgb = LATENT_RGB[family], defaults = {} } = fields;
  return { ...fields, air, family, latentRgb, defaults, name: fields.name ?? name };
}

function checkFamily({ name, architecture }: DescribedFiles, reference: string, family: ModelFamily | undefined): void {
  const possible: readonly ModelFamily[] = FAMILIES_OF[architecture];
  if (family === undefined || possible.includes(family)) return;
  throw fail('invalidModelConfig', `${reference} is said to be of the family ${family}; its files (${name}) are ${possible.join(' or ')}.`, {
    parameter: 'family',
    hint: 'Register these files under an identifier of their own, or give the right family when registering.',
  });
}

function schedulerOf(scheduler: unknown, { overrides }: ModelRecord): unknown {
  const { prediction, scheduler: changed = {} } = overrides;
  if (prediction === undefined && Object.keys(changed).length === 0) return scheduler;
  if (typeof scheduler !== 'object' || scheduler === null || Array.isArray(scheduler)) {
    throw fail('invalidModelConfig', `scheduler_config.json: expected a JSON object, got ${show(scheduler)}.`);
  }
  return { ...scheduler, ...changed, ...(prediction === undefined ? {} : { prediction_type: prediction }) };
}
