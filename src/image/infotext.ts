/**
 * @file The "parameters" text of Stable Diffusion WebUI (A1111), which Civitai and most other tools read:
 *
 *     a lighthouse, oil painting
 *     Negative prompt: blurry
 *     Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234, Size: 512x768, Model: dreamshaper_8, Clip skip: 2
 *
 * Format: https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/infotext_utils.py and `create_infotext`
 * in modules/processing.py there. Pure text to data; may import base and request.
 */
import { SCHEDULER_NAMES } from '../request/scheduler-names.js';
import type { PictureParameters, Restored, RestoredRequest } from './parameters.js';

const NEGATIVE = 'Negative prompt:';

/** The text for one picture. Line breaks inside the prompts are kept. */
export function toInfotext(picture: PictureParameters): string {
  const fields: readonly (readonly [string, string | number] | undefined)[] = [
    ['Steps', picture.steps],
    ['Sampler', picture.scheduler],
    ['CFG scale', picture.CFGScale],
    ['Seed', picture.seed.toString()],
    ['Size', `${picture.width}x${picture.height}`],
    ['Model', picture.model],
    picture.vae === undefined ? undefined : ['VAE', picture.vae],
    picture.clipSkip === 0 ? undefined : ['Clip skip', picture.clipSkip + 1], // there 1 means that no layer is skipped
    ['Version', 'Darkroom'],
  ];
  const line = fields.flatMap((field) => (field === undefined ? [] : [`${field[0]}: ${quote(String(field[1]))}`]));
  const negative = picture.negativePrompt === undefined ? [] : [`${NEGATIVE} ${picture.negativePrompt}`];
  return [picture.positivePrompt, ...negative, line.join(', ')].join('\n');
}

/** Values with a comma, colon or line break are written as JSON strings. */
function quote(value: string): string {
  return /[,:\n]/.test(value) ? JSON.stringify(value) : value;
}

/**
 * Reads such a text, ours or another tool's. `undefined` when it holds neither a prompt nor parameters.
 * Linear in the length of the text; never throws.
 */
export function parseInfotext(text: string): Restored | undefined {
  const lines = text.replaceAll('\r\n', '\n').trim().split('\n');
  const at = lines.findLastIndex((line) => line.trimStart().startsWith('Steps:') && splitFields(line).size >= 3);
  const prompts = parsePrompts(at < 0 ? lines : lines.slice(0, at));
  if (at < 0 && prompts.positivePrompt === undefined) return undefined;
  const fields = splitFields(lines[at] ?? '');
  const sampler = parseSampler(fields.get('Sampler'), fields.get('Schedule type'));
  const unread = [...fields.keys()].filter((key) => !READ_KEYS.has(key) && !HARMLESS_KEYS.has(key));
  return {
    request: { ...prompts, ...parseFields(fields), ...sampler.request },
    ignored: [...unread, ...sampler.ignored],
  };
}

const READ_KEYS = new Set(['Steps', 'Sampler', 'Schedule type', 'CFG scale', 'Seed', 'Size', 'Model', 'Clip skip']);
/** These say who wrote the text and which files it used; they change nothing that a request could say. */
const HARMLESS_KEYS = new Set([
  'Version',
  'Model hash',
  'VAE hash',
  'Lora hashes',
  'TI hashes',
  'Hashes',
  'Created Date',
]);

function parsePrompts(lines: readonly string[]): Pick<RestoredRequest, 'positivePrompt' | 'negativePrompt'> {
  const at = lines.findIndex((line) => line.startsWith(NEGATIVE));
  const positive = lines
    .slice(0, at < 0 ? lines.length : at)
    .join('\n')
    .trim();
  const negative = at < 0 ? '' : lines.slice(at).join('\n').slice(NEGATIVE.length).trim();
  return {
    ...(positive === '' ? {} : { positivePrompt: positive }),
    ...(negative === '' ? {} : { negativePrompt: negative }),
  };
}

/** `Key: value, Key: "quoted, value", …` → a map; of a repeated key the first value counts. */
function splitFields(line: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let at = 0;
  while (at < line.length) {
    const colon = line.indexOf(':', at);
    if (colon < 0) break;
    const key = line.slice(line.lastIndexOf(',', colon) < at ? at : line.lastIndexOf(',', colon) + 1, colon).trim();
    const [value, end] = readValue(line, colon + 1);
    if (/^\w[\w \-/]*$/.test(key) && !fields.has(key)) fields.set(key, value);
    at = end + 1;
  }
  return fields;
}

/** The value from `start` up to the next comma outside quotes, and where it ends. */
function readValue(line: string, start: number): readonly [value: string, end: number] {
  let from = start;
  while (line[from] === ' ') from++;
  if (line[from] === '"') {
    let close = from + 1;
    while (close < line.length && line[close] !== '"') close += line[close] === '\\' ? 2 : 1;
    const comma = line.indexOf(',', close);
    return [unquote(line.slice(from, close + 1)), comma < 0 ? line.length : comma];
  }
  const comma = line.indexOf(',', from);
  const end = comma < 0 ? line.length : comma;
  return [line.slice(from, end).trim(), end];
}

function unquote(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'string' ? value : text;
  } catch {
    return text; // a stray quote, kept as it stands
  }
}

function parseFields(fields: ReadonlyMap<string, string>): RestoredRequest {
  const size = /^(\d{1,5})x(\d{1,5})$/.exec(fields.get('Size') ?? '');
  const seed = /^\d{1,19}$/.test(fields.get('Seed') ?? '') ? Number(fields.get('Seed')) : undefined;
  const steps = numberOf(fields.get('Steps'));
  const scale = numberOf(fields.get('CFG scale'));
  const clipSkip = numberOf(fields.get('Clip skip'));
  const model = fields.get('Model');
  return {
    ...(steps === undefined ? {} : { steps }),
    ...(scale === undefined ? {} : { CFGScale: scale }),
    ...(seed === undefined ? {} : { seed: Number.isSafeInteger(seed) ? seed : (fields.get('Seed') ?? seed) }),
    ...(size === null ? {} : { width: Number(size[1]), height: Number(size[2]) }),
    ...(model === undefined || model === '' ? {} : { model }),
    ...(clipSkip === undefined ? {} : { clipSkip: Math.max(0, clipSkip - 1) }),
  };
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,15}(\.\d{1,30})?$/.test(text) ? Number(text) : undefined;
}

/** WebUI's names for what the cloud API calls otherwise. */
const SAMPLERS: ReadonlyMap<string, string> = new Map([
  ['DPM2', 'KDPM2DiscreteScheduler'],
  ['DPM2 a', 'KDPM2AncestralDiscreteScheduler'],
  ['PLMS', 'PNDMScheduler'],
]);
/** WebUI's "Uniform" is its plain schedule; the cloud's names say "Uniform" for the trailing one, "SGM Uniform" there. */
const SCHEDULES: ReadonlyMap<string, string> = new Map([
  ['Automatic', ''],
  ['Uniform', ''],
  ['Karras', ' Karras'],
  ['Exponential', ' Exponential'],
  ['Beta', ' Beta'],
  ['SGM Uniform', ' Uniform'],
]);

/** "DPM++ 2M" + "Karras" → "DPM++ 2M Karras". A sampler that is not known is kept, for the request parser to report. */
function parseSampler(sampler: string | undefined, schedule: string | undefined): Restored {
  if (sampler === undefined || sampler === '') return { request: {}, ignored: [] };
  const plain = SAMPLERS.get(sampler) ?? sampler;
  const suffix = SCHEDULES.get(schedule ?? 'Automatic');
  const whole = plain + (suffix ?? '');
  if (suffix !== undefined && (suffix === '' || SCHEDULER_NAMES.some((name) => name === whole))) {
    return { request: { scheduler: whole }, ignored: [] };
  }
  return { request: { scheduler: plain }, ignored: [`Schedule type ${schedule ?? ''}`] };
}
