/**
 * @file What a picture was made with, as text inside its PNG: written under the key `parameters` in the form that other
 * tools read (infotext.ts) and under `darkroom` as the exact request in JSON; read back from either. May import base and request.
 */
import type { ImageInput } from '../request/image-reference.js';
import type {
  ControlMode,
  ControlNetRequest,
  ImageInferenceTask,
  PromptWeighting,
  RefinerRequest,
  WeightedModel,
} from '../request/task.js';
import { unionModeNumber } from '../request/union-modes.js';
import { parseInfotext, toInfotext } from './infotext.js';

/** Everything that decided one picture: the checked task with the plan's choices filled in and this picture's own seed. */
export type PictureParameters = Pick<ImageInferenceTask, 'positivePrompt' | 'negativePrompt' | 'model'> &
  Pick<
    ImageInferenceTask,
    | 'vae'
    | 'clipSkip'
    | 'refiner'
    | 'promptWeighting'
    | 'trueCFGScale'
    | 'maxSequenceLength'
    | 'controlNet'
    | 'lora'
    | 'embeddings'
  > & {
    readonly width: number;
    readonly height: number;
    readonly steps: number;
    readonly CFGScale: number;
    readonly scheduler: string;
    readonly seed: bigint;
  };

/** What could be read back: part of a request, of the right types but otherwise unchecked; the request parser checks ranges. */
export interface RestoredRequest {
  readonly positivePrompt?: string;
  readonly negativePrompt?: string;
  /** An AIR, or from other tools' files just a name. */
  readonly model?: string;
  readonly width?: number;
  readonly height?: number;
  readonly steps?: number;
  readonly CFGScale?: number;
  readonly scheduler?: string;
  /** Decimal digits where a number would lose some. */
  readonly seed?: number | string;
  readonly clipSkip?: number;
  readonly vae?: string;
  readonly promptWeighting?: PromptWeighting;
  readonly trueCFGScale?: number;
  readonly maxSequenceLength?: number;
  readonly refiner?: RefinerRequest;
  /** Those whose guide image is a UUID or a URL; a guide that was sent inline is not in the text. */
  readonly controlNet?: readonly RestoredControlNet[];
  readonly lora?: readonly WeightedModel[];
  readonly embeddings?: readonly WeightedModel[];
}

/** One entry of `controlNet[]`; the guide image is a UUID or a URL. */
export type RestoredControlNet = Partial<Omit<ControlNetRequest, 'guideImage'>> & {
  readonly model: string;
  readonly guideImage: string;
};

/** `ignored` names what the text held but a request cannot say, e.g. "Hires upscale". */
export interface Restored {
  readonly request: RestoredRequest;
  readonly ignored: readonly string[];
}

const PROMPT_WEIGHTINGS = ['compel', 'sdEmbeds'] as const satisfies readonly PromptWeighting[];
const CONTROL_MODES = ['prompt', 'controlnet', 'balanced'] as const satisfies readonly ControlMode[];
const WINDOW = ['startStep', 'startStepPercentage', 'endStep', 'endStepPercentage'] as const;

/** References longer than this are pictures written out in full; they are left out of the text. */
const MAX_REFERENCE = 2048;

/** The texts to put into a PNG, for {@link encodePng}. */
export function pngTexts(picture: PictureParameters): { readonly parameters: string; readonly darkroom: string } {
  return { parameters: toInfotext(picture), darkroom: JSON.stringify(toJson(picture)) };
}

/** The request that makes this one picture again. Guide images that were sent inline are left out. */
function toJson(picture: PictureParameters): Readonly<Record<string, unknown>> {
  const controlNet = picture.controlNet.map((entry) => ({
    ...entry,
    guideImage: isShort(entry.guideImage) ? entry.guideImage : undefined,
  }));
  return {
    taskType: 'imageInference',
    positivePrompt: picture.positivePrompt,
    negativePrompt: picture.negativePrompt,
    model: picture.model,
    width: picture.width,
    height: picture.height,
    steps: picture.steps,
    CFGScale: picture.CFGScale,
    scheduler: picture.scheduler,
    seed: picture.seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(picture.seed) : picture.seed.toString(),
    clipSkip: picture.clipSkip,
    vae: picture.vae,
    promptWeighting: picture.promptWeighting,
    trueCFGScale: picture.trueCFGScale,
    maxSequenceLength: picture.maxSequenceLength,
    refiner: picture.refiner,
    controlNet: controlNet.length > 0 ? controlNet : undefined,
    lora: picture.lora.length > 0 ? picture.lora : undefined,
    embeddings: picture.embeddings.length > 0 ? picture.embeddings : undefined,
  };
}

function isShort(image: ImageInput): image is string {
  return typeof image === 'string' && image.length <= MAX_REFERENCE;
}

/**
 * The request inside a picture's texts (`readPngText`): the exact one where Darkroom wrote it, else what the `parameters`
 * text of another tool says. `undefined` when there is neither. Never throws: the texts may come from anyone.
 */
export function restoreRequest(texts: Readonly<Record<string, string>>): Restored | undefined {
  const exact = texts['darkroom'] === undefined ? undefined : parseJson(texts['darkroom']);
  if (exact !== undefined) return exact;
  return texts['parameters'] === undefined ? undefined : parseInfotext(texts['parameters']);
}

function parseJson(text: string): Restored | undefined {
  const json = parseObject(text);
  if (json === undefined) return undefined;
  const weighting = PROMPT_WEIGHTINGS.find((known) => known === json['promptWeighting']);
  const refiner = refinerOf(json['refiner']);
  const lora = weightedModels(json['lora']);
  const embeddings = weightedModels(json['embeddings']);
  const controlNet = controlNets(json['controlNet']);
  const request = {
    ...pick(json, 'string', ['positivePrompt', 'negativePrompt', 'model', 'scheduler', 'vae']),
    ...pick(json, 'number', [
      'width',
      'height',
      'steps',
      'CFGScale',
      'seed',
      'clipSkip',
      'trueCFGScale',
      'maxSequenceLength',
    ]),
    ...(typeof json['seed'] === 'string' && /^\d{1,19}$/.test(json['seed']) ? { seed: json['seed'] } : {}),
    ...(weighting === undefined ? {} : { promptWeighting: weighting }),
    ...(refiner === undefined ? {} : { refiner }),
    ...(controlNet.length > 0 ? { controlNet } : {}),
    ...(lora.length > 0 ? { lora } : {}),
    ...(embeddings.length > 0 ? { embeddings } : {}),
  };
  if (Object.keys(request).length === 0) return undefined;
  const isIncomplete = lengthOf(json['controlNet']) > controlNet.length;
  const unread = ['promptWeighting', 'refiner', 'controlNet'].filter(
    (key) => json[key] !== undefined && (!(key in request) || (key === 'controlNet' && isIncomplete)),
  );
  return { request, ignored: unread };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return isObject(json) ? json : undefined;
  } catch {
    return undefined; // not JSON: another tool may use the same key
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Those of `keys` that hold a value of the type. */
function pick<K extends string>(
  json: Readonly<Record<string, unknown>>,
  type: 'string',
  keys: readonly K[],
): { [key in K]?: string };
function pick<K extends string>(
  json: Readonly<Record<string, unknown>>,
  type: 'number',
  keys: readonly K[],
): { [key in K]?: number };
function pick(json: Readonly<Record<string, unknown>>, type: string, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.filter((key) => isOf(type, json[key])).map((key) => [key, json[key]]));
}

/** Numbers must be finite: JSON's `1e999` is read as Infinity. */
function isOf(type: string, value: unknown): boolean {
  return type === 'number' ? Number.isFinite(value) : typeof value === type;
}

/** A refiner needs its model; a start of another type than a number is left out. */
function refinerOf(value: unknown): RefinerRequest | undefined {
  if (!isObject(value) || typeof value['model'] !== 'string') return undefined;
  return { model: value['model'], ...pick(value, 'number', ['startStep', 'startStepPercentage']) };
}

function weightedModels(list: unknown): readonly WeightedModel[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) =>
    isObject(entry) &&
    typeof entry['model'] === 'string' &&
    typeof entry['weight'] === 'number' &&
    isOf('number', entry['weight'])
      ? [{ model: entry['model'], weight: entry['weight'] }]
      : [],
  );
}

const lengthOf = (list: unknown): number => (Array.isArray(list) ? list.length : 0);

/** Entries that can be asked for again: with a model, and a guide image that the text names. */
function controlNets(list: unknown): readonly RestoredControlNet[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    if (!isObject(entry)) return [];
    const { model, guideImage } = entry;
    if (typeof model !== 'string' || typeof guideImage !== 'string' || !isShort(guideImage)) return [];
    const mode = CONTROL_MODES.find((known) => known === entry['controlMode']);
    const controlMode = mode === undefined ? {} : { controlMode: mode };
    const kind = unionModeNumber(entry['unionMode']);
    const unionMode = kind === undefined ? {} : { unionMode: kind };
    return [{ model, guideImage, ...pick(entry, 'number', ['weight', ...WINDOW]), ...controlMode, ...unionMode }];
  });
}
