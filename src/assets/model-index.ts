/** @file `model_index.json`: which pipeline a diffusers folder is, and of which classes its parts are. */
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';
import type { AnyModelFiles } from './model-files.js';

/** A part's library and class, e.g. `['diffusers', 'UNet2DConditionModel']`. */
export type ComponentClass = readonly [library: string, name: string];

export interface ModelIndex {
  /** `_class_name`. */
  readonly pipeline: string;
  readonly architecture: AnyModelFiles['architecture'];
  /** Folder → class, of the parts that are there (`[null, null]` means left out). */
  readonly components: ReadonlyMap<string, ComponentClass>;
  readonly forceZerosForEmptyPrompt: boolean;
  readonly requiresAestheticsScore: boolean;
}

/** Pipelines of other models, for the message. */
const OTHER_PIPELINES: readonly (readonly [beginning: string, model: string])[] = [
  ['StableDiffusionXLInpaint', 'a Stable Diffusion XL inpainting model'],
  ['StableDiffusionXL', 'a variant of Stable Diffusion XL'],
  ['StableDiffusion3', 'a Stable Diffusion 3 model'],
  ['StableDiffusionInpaint', 'a Stable Diffusion inpainting model'],
  ['StableDiffusionControlNet', 'a Stable Diffusion model with a ControlNet'],
  ['StableDiffusionUpscale', 'an upscaling model'],
  ['StableDiffusionLatentUpscale', 'an upscaling model'],
  ['Flux2', 'a FLUX.2 model'],
  ['FluxFill', 'a FLUX.1 Fill model'],
  ['Flux', 'a variant of FLUX.1'],
  ['HiDream', 'a HiDream model'],
  ['ZImage', 'a Z-Image model'],
  ['PixArt', 'a PixArt model'],
  ['Sana', 'a Sana model'],
  ['Kandinsky', 'a Kandinsky model'],
  ['Wan', 'a Wan video model'],
];

const CLIP = ['CLIPTextModel'];
const PROJECTED = ['CLIPTextModelWithProjection'];
const CLIP_TOKENIZERS = ['CLIPTokenizer', 'CLIPTokenizerFast'];
const T5_TOKENIZERS = ['T5TokenizerFast', 'T5Tokenizer'];
const VAE = ['AutoencoderKL', 'AutoencoderTiny'];
const UNET = { unet: ['UNet2DConditionModel'], vae: VAE } as const;
const FIRST = { text_encoder: CLIP, tokenizer: CLIP_TOKENIZERS } as const;
const SECOND = { text_encoder_2: PROJECTED, tokenizer_2: CLIP_TOKENIZERS } as const;

/** A pipeline that can be run. */
interface Pipeline {
  readonly architecture: AnyModelFiles['architecture'];
  /** Folder → the classes that it may be of, of the parts that pictures need. */
  readonly parts: Readonly<Record<string, readonly string[]>>;
}

const PIPELINES: Readonly<Record<string, Pipeline>> = {
  StableDiffusionPipeline: { architecture: 'sd', parts: { ...UNET, ...FIRST } },
  LatentConsistencyModelPipeline: { architecture: 'sd', parts: { ...UNET, ...FIRST } },
  StableDiffusionXLPipeline: { architecture: 'sdxl', parts: { ...UNET, ...FIRST, ...SECOND } },
  StableDiffusionXLImg2ImgPipeline: { architecture: 'sdxl-refiner', parts: { ...UNET, ...SECOND } },
  FluxPipeline: {
    architecture: 'flux',
    parts: {
      transformer: ['FluxTransformer2DModel'],
      vae: VAE,
      ...FIRST,
      text_encoder_2: ['T5EncoderModel'],
      tokenizer_2: T5_TOKENIZERS,
    },
  },
};

/**
 * @param where names the file in messages
 * @throws unsupportedModel saying what the folder is, invalidModelConfig
 */
export function parseModelIndex(json: unknown, where: string): ModelIndex {
  const f = fields(json, where);
  const name = f.text('_class_name');
  const pipeline = Object.hasOwn(PIPELINES, name) ? PIPELINES[name] : undefined;
  if (pipeline === undefined) throw unsupportedPipeline(name, where);
  const components = new Map(
    Object.entries(typeof json === 'object' ? (json ?? {}) : {}).flatMap(([part, value]) => {
      const component = parseComponent(value);
      return component === undefined ? [] : [[part, component] as const];
    }),
  );
  for (const [part, classes] of Object.entries(pipeline.parts)) checkPart(components.get(part), part, classes, where);
  if (!components.has('scheduler')) throw f.error('scheduler', 'a [library, class] pair');
  return {
    pipeline: name,
    architecture: pipeline.architecture,
    components,
    forceZerosForEmptyPrompt: f.boolean('force_zeros_for_empty_prompt', pipeline.architecture === 'sdxl'),
    requiresAestheticsScore: f.boolean('requires_aesthetics_score', false),
  };
}

/** `undefined` for what is left out and for plain settings such as `requires_safety_checker`. */
function parseComponent(value: unknown): ComponentClass | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const pair: readonly unknown[] = value;
  const [library, name] = pair;
  return typeof library === 'string' && typeof name === 'string' ? [library, name] : undefined;
}

function checkPart(
  component: ComponentClass | undefined,
  part: string,
  classes: readonly string[],
  where: string,
): void {
  const expected = classes.join(' or ');
  if (component === undefined)
    throw fail('invalidModelConfig', `${where}: "${part}" must be a [library, class] pair of class ${expected}.`);
  if (classes.includes(component[1])) return;
  throw fail('unsupportedModel', `${where}: "${part}" is of class ${show(component[1])}; ${expected} was expected.`);
}

function unsupportedPipeline(pipeline: string, where: string): Error {
  const [, model = 'another kind of model'] =
    OTHER_PIPELINES.find(([beginning]) => pipeline.startsWith(beginning)) ?? [];
  return fail(
    'unsupportedModel',
    `${where} is of ${show(pipeline)}: ${model}. Only ${Object.keys(PIPELINES).join(', ')} can be run.`,
    {
      parameter: 'model',
      hint: 'Use a model of Stable Diffusion 1.x, 2.x or XL or FLUX.1 in diffusers format.',
    },
  );
}
