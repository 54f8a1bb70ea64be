/**
 * @file AIRs, the names of models: `urn:air:{ecosystem}:{type}:{source}:{id}@{version}[:{layer}][+{fileId}][.{format}]` and its short
 * form `{source}:{id}@{version}`. Text → parts → text; knows no model.
 *
 * Grammar: https://github.com/civitai/civitai/wiki/AIR-%E2%80%90-Uniform-Resource-Names-for-AI (its older copy has `:{layer}`) and
 * https://developer.civitai.com/site/guide/air (`+{fileId}`). The regular expression given there splits `hunyuan-3d@3.1-pro` and
 * `stable-diffusion-xl-base-1.0` at their dots and refuses `+{fileId}`; hence a parser.
 */
import { fail, type DarkroomError } from '../base/errors.js';
import { show } from '../base/fields.js';

/** The parts of an AIR. Words whose case means nothing (ecosystem, type, source, format) are in lower case. */
export interface Air {
  /** Family of models, e.g. `sd1`, `sdxl`. */
  readonly ecosystem: string | undefined;
  /** E.g. `checkpoint`, `model`, `lora`, `vae`. */
  readonly type: string | undefined;
  /** Who gives out the id: `civitai`, `runware`, `huggingface`, … */
  readonly source: string;
  /** A number or slug, or `owner/repo`. */
  readonly id: string;
  /** A number, slug or git revision. Absent: whichever is current. */
  readonly version: string | undefined;
  readonly layer: string | undefined;
  /** One of several files of a version. */
  readonly fileId: string | undefined;
  readonly format: AirFormat | undefined;
}

/** A dot begins a format only before one of these; every other dot is part of an id or a version. */
const FORMATS = [
  'safetensors',
  'safetensor',
  'ckpt',
  'pt',
  'pth',
  'bin',
  'diffusers',
  'diffuser',
  'onnx',
  'gguf',
  'tensorrt',
] as const;
export type AirFormat = (typeof FORMATS)[number];

/** Where three words stand before an id, these tell a type from an ecosystem (`urn:air:model:huggingface:owner/repo`). */
const TYPES: readonly string[] = [
  'checkpoint',
  'model',
  'lora',
  'lycoris',
  'locon',
  'dora',
  'embedding',
  'hypernet',
  'hypernetwork',
  'vae',
  'controlnet',
  'upscaler',
  'other',
];

const WORD = /^[a-z0-9][a-z0-9._-]*$/i;
/** Pieces between slashes; none is `.` or `..`, for an id may become part of an address. */
const PATH = /^(?!\.+(?:\/|$))[a-z0-9._-]+(?:\/(?!\.+(?:\/|$))[a-z0-9._-]+)*$/i;
const FILE_ID = /^[a-z0-9_-]+$/i;

/**
 * Reads any form: `urn:` and `air:` (in any case), ecosystem, type, version, layer, file id and format may each be left out.
 * @param parameter what an error names, e.g. `refiner.model`
 * @throws invalidModel, saying which part is wrong
 * @example parseAir('urn:air:sdxl:checkpoint:civitai:827184@2514310').version // '2514310'
 */
export function parseAir(text: string, parameter = 'model'): Air {
  const bad = (what: string): DarkroomError => notAnAir(text, what, parameter);
  const body = text.trim().replace(/^urn:/i, '').replace(/^air:/i, '');
  const at = body.indexOf('@');
  const head = (at < 0 ? body : body.slice(0, at)).split(':');
  const last = head.pop() ?? '';
  const { rest, fileId, format } = takeSuffixes(at < 0 ? last : body.slice(at + 1));
  const [version, layer, ...more] = at < 0 ? [undefined] : rest.split(':');
  const id = at < 0 ? rest : last;
  const source = head.pop();

  if (source === undefined || source === '') throw bad('it has no source before its id');
  if (head.length > 2) throw bad(`it has ${head.length} words before its source, where an ecosystem and a type may stand`);
  if (more.length > 0) throw bad('it has more than one layer');
  const [ecosystem, type] = head.length === 1 && TYPES.includes(head[0]?.toLowerCase() ?? '') ? [undefined, head[0]] : head;
  for (const [part, value] of Object.entries({ ecosystem, type, source })) {
    if (value !== undefined && !WORD.test(value)) throw bad(`its ${part} ${show(value)} is not a word`);
  }
  for (const [part, value] of Object.entries({ id, version, layer })) {
    if (value !== undefined && !PATH.test(value)) throw bad(`its ${part} is ${show(value)}`);
  }
  if (fileId !== undefined && !FILE_ID.test(fileId)) throw bad(`its file id is ${show(fileId)}`);
  if (/^(urn|air)$/i.test(source)) throw bad(`${JSON.stringify(source)} is not a source`);
  return {
    ecosystem: ecosystem?.toLowerCase(),
    type: type?.toLowerCase(),
    source: source.toLowerCase(),
    id,
    version,
    layer,
    fileId,
    format,
  };
}

/** Splits `+{fileId}` and `.{format}` off the end of the last part. */
function takeSuffixes(text: string): {
  readonly rest: string;
  readonly fileId: string | undefined;
  readonly format: AirFormat | undefined;
} {
  const dot = text.lastIndexOf('.');
  const ending = text.slice(dot + 1).toLowerCase();
  const format = dot < 0 ? undefined : FORMATS.find((known) => known === ending);
  const named = format === undefined ? text : text.slice(0, dot);
  const plus = named.lastIndexOf('+');
  return plus < 0
    ? { rest: named, fileId: undefined, format }
    : { rest: named.slice(0, plus), fileId: named.slice(plus + 1), format };
}

function notAnAir(text: string, what: string, parameter: string): DarkroomError {
  return fail('invalidModel', `${show(text)} is not an AIR: ${what}.`, {
    parameter,
    type: 'string',
    hint: 'An AIR is source:id@version, as in civitai:4384@128713, or urn:air:ecosystem:type:source:id@version. A plain name has no colon.',
  });
}

/**
 * The normal form: the short one, or `urn:air:…` where ecosystem or type is known. `parseAir` reads it back to the same parts.
 * @example formatAir(parseAir('air:SDXL:checkpoint:civitai:101055@128078')) // 'urn:air:sdxl:checkpoint:civitai:101055@128078'
 */
export function formatAir(air: Air): string {
  const words = [air.ecosystem, air.type].filter((word) => word !== undefined);
  const prefix = words.length === 0 ? '' : `urn:air:${words.join(':')}:`;
  return `${prefix}${air.source}:${air.id}${endingOf(air)}${air.format === undefined ? '' : `.${air.format}`}`;
}

/**
 * What two AIRs of the same files share: ecosystem, type and format describe and do not distinguish. A Hub repo without a revision
 * means `main`.
 * @example airKey(parseAir('urn:air:sd1:model:civitai:4384@128713.safetensors')) // 'civitai:4384@128713'
 */
export function airKey(air: Air): string {
  const version = air.version ?? (air.source === 'huggingface' ? 'main' : undefined);
  return `${air.source}:${air.id}${endingOf({ ...air, version })}`;
}

function endingOf({ version, layer, fileId }: Pick<Air, 'version' | 'layer' | 'fileId'>): string {
  return (
    (version === undefined ? '' : `@${version}`) +
    (layer === undefined ? '' : `:${layer}`) +
    (fileId === undefined ? '' : `+${fileId}`)
  );
}

/** What a request's `model` may be. */
export type ParsedReference =
  | { readonly kind: 'air'; readonly air: Air }
  | { readonly kind: 'url'; readonly url: string }
  /** A name that somebody registered. */
  | { readonly kind: 'name'; readonly name: string };

const URL_LIKE = /^(?:[a-z][a-z0-9+.-]*:\/\/|blob:)/i;
const PROTOCOLS: readonly string[] = ['http:', 'https:', 'blob:', 'file:'];

/**
 * Tells an AIR (has a colon) from a URL (has `://`) and a name (has neither).
 * @throws invalidModel for an empty text, an AIR with a wrong part, or a URL of another protocol than http(s), blob and file
 */
export function parseModelReference(text: string, parameter = 'model'): ParsedReference {
  const trimmed = text.trim();
  if (trimmed === '') throw fail('invalidModel', 'A model has an empty name.', { parameter, type: 'string' });
  if (URL_LIKE.test(trimmed)) {
    const url = URL.canParse(trimmed) ? new URL(trimmed) : undefined;
    if (url !== undefined && PROTOCOLS.includes(url.protocol)) return { kind: 'url', url: url.href };
    const got = url === undefined ? 'not well formed' : `of the protocol ${url.protocol}`;
    throw fail('invalidModel', `A model's URL is ${got}; expected an http or https URL.`, { parameter, type: 'string' });
  }
  if (trimmed.includes(':')) return { kind: 'air', air: parseAir(trimmed, parameter) };
  return { kind: 'name', name: trimmed };
}
