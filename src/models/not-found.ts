/** @file The error for a model that nobody registered: what is near, what is there, and how to add it. */
import { fail, type DarkroomError } from '../base/errors.js';
import { airKey, type ParsedReference } from './air.js';
import { closeMatches, type Candidate } from './close-matches.js';
import { KNOWN_MODELS, knownByKey } from './known-models.js';
import type { ModelRegistry } from './registry.js';

const LISTED = 8;

/** @param shown the reference in normal form */
export function notFound(registry: ModelRegistry, parsed: ParsedReference, shown: string, parameter: string): DarkroomError {
  const known = parsed.kind === 'air' ? knownByKey(airKey(parsed.air)) : undefined;
  const what = known === undefined ? '' : ` It is ${known.name}, whose files have no known public address.`;
  const near = closeMatches(shown, candidates(registry)).filter((reference) => reference !== shown);
  const question = near.length === 0 ? '' : ` Did you mean ${near.map(quote).join(' or ')}?`;
  const message = `No model is registered as ${quote(shown)}.${what}${question} Registered: ${listed(registry)}.`;
  return fail('modelNotFound', message, { parameter, type: 'string', hint: howToRegister(parsed, shown) });
}

function candidates(registry: ModelRegistry): readonly Candidate[] {
  const own = [...registry.values()].map(({ reference, record }) => ({ reference, name: record.card.name }));
  const usable = KNOWN_MODELS.filter((known) => known.kind !== 'elsewhere' && known.hub !== undefined);
  return [...own, ...usable.filter(({ air }) => own.every(({ reference }) => reference !== air)).map(({ air, name }) => ({ reference: air, name }))];
}

function listed(registry: ModelRegistry): string {
  const names = [...registry.values()].map(({ reference }) => quote(reference));
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
  return names.length === 0 ? 'none' : names.slice(0, LISTED).join(', ') + more;
}

function howToRegister(parsed: ParsedReference, shown: string): string {
  const register = `register it: registerModel({ air: ${quote(shown)}, source }), where source is a URL, a picked file or a folder`;
  if (parsed.kind === 'air' && parsed.air.source === 'civitai') {
    const { id, version, fileId } = parsed.air;
    const from =
      version === undefined
        ? `https://civitai.com/models/${id}`
        : `https://civitai.com/api/download/models/${version}${fileId === undefined ? '' : `?fileId=${fileId}`}`;
    return `Civitai gives files to signed-in people only: download it from ${from}, then ${register}.`;
  }
  const other = parsed.kind === 'name' ? ', or name a Hub repo (huggingface:owner/repo) or a URL' : '';
  return `To use it, ${register}${other}.`;
}

const quote = (text: string): string => JSON.stringify(text);
