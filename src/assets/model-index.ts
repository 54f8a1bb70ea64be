/** @file `model_index.json`: which pipeline a diffusers folder is, and of which classes its parts are. */
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';
import type { Architecture } from './model-files.js';

/** A part's library and class, e.g. `['diffusers', 'UNet2DConditionModel']`. */
export type ComponentClass = readonly [library: string, name: string];

export interface ModelIndex {
  /** `_class_name`. */
  readonly pipeline: string;
  readonly architecture: Architecture;
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
  ['Flux', 'a FLUX.1 model'],
  ['HiDream', 'a HiDream model'],
  ['ZImage', 'a Z-Image model'],
  ['PixArt', 'a PixArt model'],
  ['Sana', 'a Sana model'],
  ['Kandinsky', 'a Kandinsky model'],
  ['Wan', 'a Wan video model'],
];

/** The pipelines that can be run: what they are, and the classes of the parts that pictures need. */
const PIPELINES: Readonly<
  Record<string, { readonly architecture: Architecture; readonly encoders: readonly (1 | 2)[] }>
> = {
  StableDiffusionPipeline: { architecture: 'sd', encoders: [1] },
  LatentConsistencyModelPipeline: { architecture: 'sd', encoders: [1] },
  StableDiffusionXLPipeline: { architecture: 'sdxl', encoders: [1, 2] },
  StableDiffusionXLImg2ImgPipeline: { architecture: 'sdxl-refiner', encoders: [2] },
};

const TOKENIZERS = ['CLIPTokenizer', 'CLIPTokenizerFast'];

function partsOf(encoders: readonly (1 | 2)[]): Readonly<Record<string, readonly string[]>> {
  return {
    unet: ['UNet2DConditionModel'],
    vae: ['AutoencoderKL', 'AutoencoderTiny'],
    ...(encoders.includes(1) ? { text_encoder: ['CLIPTextModel'], tokenizer: TOKENIZERS } : {}),
    ...(encoders.includes(2) ? { text_encoder_2: ['CLIPTextModelWithProjection'], tokenizer_2: TOKENIZERS } : {}),
  };
}

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
  const parts = partsOf(pipeline.encoders);
  for (const [part, classes] of Object.entries(parts)) checkPart(components.get(part), part, classes, where);
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
      hint: 'Use a model of Stable Diffusion 1.x, 2.x or XL in diffusers format.',
    },
  );
}
