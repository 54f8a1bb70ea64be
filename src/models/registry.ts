/**
 * @file Which models are known and where their files are. An immutable value: registering makes a new registry. Hub repos and URLs
 * need no registering.
 */
import { fail } from '../base/errors.js';
import { airKey, formatAir, parseModelReference, type ParsedReference } from './air.js';
import { BUNDLED_MODELS } from './bundled.js';
import type { KnownModel } from './cards/known.js';
import { mergeRecords, parseDetails, type ModelCategory, type ModelRecord } from './details.js';
import { FLUX_COMPANIONS } from './flux-facts.js';
import { fileAddress, hubPlaceOf, hubUrl, parseHubUrl } from './hub.js';
import { hubAddress, knownByKey, knownByPlace, recordOfKnown } from './known-models.js';
import { notFound } from './not-found.js';

/** A file that a person picked, and its path within what was picked. */
export interface PickedFile {
  readonly path: string;
  readonly file: Blob;
}

/** Where a model's files are. Plain data that crosses to a worker by structured clone. */
export type ModelSource =
  | { readonly kind: 'bundled'; readonly files: Readonly<Record<string, string>> }
  /** Of a folder or of one weight file. When registering: also of a page of the Hub, or `huggingface:owner/repo@revision`. */
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'files'; readonly files: readonly PickedFile[] };

export interface ModelEntry {
  /** As it was registered, in normal form. */
  readonly reference: string;
  readonly source: ModelSource;
  readonly record: ModelRecord;
  /** How often this reference was registered before: what was loaded then is another model now. */
  readonly earlier: number;
}

/** `referenceKey` → entry. */
export type ModelRegistry = ReadonlyMap<string, ModelEntry>;

/** A model that was found. */
export interface ResolvedModel extends ModelRecord {
  /** The same for all forms of one reference; another one once it is registered anew. */
  readonly key: string;
  readonly reference: string;
  readonly source: ModelSource;
  /** References of models that give it the parts that its files lack; they are looked into only when some are missing. */
  readonly companions: readonly string[];
  /** What whoever asked should be told, one sentence each. */
  readonly warnings: readonly string[];
}

/** What a model is asked for. */
export interface Wanted {
  /** Default `checkpoint`. */
  readonly category?: ModelCategory;
  /** The request's parameter, for errors; default `model`. */
  readonly parameter?: string;
}

/** The registry that holds the bundled models and nothing else. */
export function bundledRegistry(): ModelRegistry {
  return BUNDLED_MODELS.reduce<ModelRegistry>(
    (registry, { air, files }) => register(registry, air, { kind: 'bundled', files }),
    new Map(),
  );
}

/**
 * `registry` with the model added, or replaced when one was there under any form of its reference.
 * What is known of an identifier holds where `details` are silent.
 * @param reference an AIR, or a name without a colon
 * @param details see `ModelDetails`; checked here
 * @throws invalidModel for a wrong reference, invalidModelConfig naming the wrong field of `details`
 */
export function register(
  registry: ModelRegistry,
  reference: string,
  source: ModelSource,
  details: unknown = {},
): ModelRegistry {
  const parsed = parseModelReference(reference);
  const key = referenceKey(parsed);
  const normal = formatReference(parsed);
  const known = parsed.kind === 'name' ? undefined : knownByKey(key);
  const said = parseDetails(details, `The registration of ${JSON.stringify(normal)}`);
  const before = known === undefined || known.kind === 'elsewhere' ? { card: {}, overrides: {} } : recordOfKnown(known);
  const record = mergeRecords(before, said);
  const earlier = registry.get(key);
  const entry: ModelEntry = {
    reference: normal,
    source: readableSource(source),
    record,
    earlier: earlier === undefined ? 0 : earlier.earlier + 1,
  };
  return new Map([...registry, [key, entry]]);
}

/**
 * Finds a model: registered ones first, then those whose Hub copy is known, then any Hub repo or URL.
 * @throws invalidModel for a malformed reference, modelNotFound saying how to register it, unsupportedModel for a model of another
 * category or family
 */
export function resolve(registry: ModelRegistry, reference: string, wanted: Wanted = {}): ResolvedModel {
  const { parameter = 'model' } = wanted;
  const parsed = parseModelReference(reference, parameter);
  const found = registered(registry, parsed) ?? fromHub(parsed, parameter) ?? fromUrl(parsed);
  if (found === undefined) throw notFound(registry, parsed, formatReference(parsed), parameter);
  checkCategory(found, parsed, wanted);
  return { ...found, companions: companionsOf(found) };
}

/** As registered; else those of FLUX.1, for models that come over the network. A picked file asks nothing of a server. */
function companionsOf({ companions, source, reference }: Found): readonly string[] {
  if (companions !== undefined) return companions;
  return source.kind === 'url' ? FLUX_COMPANIONS.filter((companion) => companion !== reference) : [];
}

type Found = Omit<ResolvedModel, 'companions'> & Pick<ModelRecord, 'companions'>;

/** The same for all forms of one reference. */
export function referenceKey(parsed: ParsedReference): string {
  switch (parsed.kind) {
    case 'air':
      return airKey(parsed.air);
    case 'url':
      return fileAddress(parsed.url);
    case 'name':
      return parsed.name;
    default:
      return parsed satisfies never;
  }
}

/** For messages: an AIR in normal form, a name, a URL without its query, which may hold a token. */
function formatReference(parsed: ParsedReference): string {
  switch (parsed.kind) {
    case 'air':
      return formatAir(parsed.air);
    case 'url': {
      const { protocol, host, pathname } = new URL(fileAddress(parsed.url));
      return protocol === 'blob:' ? parsed.url : `${protocol}//${host}${pathname}`;
    }
    case 'name':
      return parsed.name;
    default:
      return parsed satisfies never;
  }
}

function registered(registry: ModelRegistry, parsed: ParsedReference): Found | undefined {
  const key = referenceKey(parsed);
  const entry = registry.get(key);
  if (entry === undefined) return undefined;
  const { reference, source, record, earlier } = entry;
  return { ...record, key: earlier === 0 ? key : `${key}#${earlier}`, reference, source, warnings: [] };
}

function fromHub(parsed: ParsedReference, parameter: string): Found | undefined {
  if (parsed.kind !== 'air') return undefined;
  const key = airKey(parsed.air);
  const isRepo = parsed.air.source === 'huggingface';
  const place = isRepo ? hubPlaceOf(parsed.air, parameter) : undefined;
  const known = knownByKey(key) ?? (place && knownByPlace(place));
  if (known?.kind === 'elsewhere') throw elsewhere(known, parameter);
  const url = (known && hubAddress(known)) ?? (place && hubUrl(place));
  if (url === undefined) return undefined;
  const reference = formatAir(parsed.air);
  return { ...recordOf(known), key, reference, source: { kind: 'url', url }, warnings: isRepo ? [] : unverified(known) };
}

function fromUrl(parsed: ParsedReference): Found | undefined {
  if (parsed.kind !== 'url') return undefined;
  const url = fileAddress(parsed.url);
  const place = parseHubUrl(url);
  const record = recordOf(place && knownByPlace(place));
  return { ...record, key: url, reference: formatReference(parsed), source: { kind: 'url', url }, warnings: [] };
}

function recordOf(known: KnownModel | undefined): ModelRecord {
  return known === undefined ? { card: {}, overrides: {} } : recordOfKnown(known);
}

/** A source as given → one whose URL leads to files. */
function readableSource(source: ModelSource): ModelSource {
  if (source.kind !== 'url') return source;
  const parsed = parseModelReference(source.url);
  if (parsed.kind === 'url') return { kind: 'url', url: fileAddress(parsed.url) };
  if (parsed.kind === 'air' && parsed.air.source === 'huggingface') return { kind: 'url', url: hubUrl(hubPlaceOf(parsed.air)) };
  throw fail('invalidModel', `A model's files are at ${JSON.stringify(source.url)}; expected a URL or huggingface:owner/repo@revision.`, {
    parameter: 'model',
    type: 'string',
  });
}

function unverified(known: KnownModel | undefined): readonly string[] {
  if (known === undefined || known.kind === 'elsewhere' || known.hub === undefined || known.hub.verified) return [];
  return [`${known.air} (${known.name}) was read from the Hub repo ${known.hub.repo}; that both are the same was not verified.`];
}

function elsewhere(known: KnownModel & { readonly kind: 'elsewhere' }, parameter: string): Error {
  return fail('unsupportedModel', `${known.air} is ${known.name}, ${known.what}; models of its kind are not supported.`, {
    parameter,
    type: 'string',
  });
}

/** AIR types that name a category; `model` and `other` may be anything. */
const CATEGORY_OF_TYPE: Readonly<Record<string, ModelCategory>> = {
  checkpoint: 'checkpoint',
  lora: 'lora',
  lycoris: 'lycoris',
  locon: 'lycoris',
  embedding: 'embeddings',
  vae: 'vae',
  controlnet: 'controlnet',
};

function checkCategory(found: Found, parsed: ParsedReference, { category = 'checkpoint', parameter = 'model' }: Wanted): void {
  const type = parsed.kind === 'air' ? parsed.air.type : undefined;
  const is = found.category ?? (type !== undefined && Object.hasOwn(CATEGORY_OF_TYPE, type) ? CATEGORY_OF_TYPE[type] : undefined);
  if (is === undefined || is === category) return;
  if (category === 'vae' && is === 'checkpoint') return; // a checkpoint has a VAE inside
  if (category === 'lora' && is === 'lycoris') return; // both change weights; the file says how
  throw fail('unsupportedModel', `${found.reference} is registered as ${is}; "${parameter}" takes ${category}.`, {
    parameter,
    type: 'string',
  });
}
