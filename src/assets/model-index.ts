/** @file `model_index.json`: which pipeline a diffusers folder is, and of which classes its parts are. */
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';

/** A part's library and class, e.g. `['diffusers', 'UNet2DConditionModel']`. */
export type ComponentClass = readonly [library: string, name: string];

export interface ModelIndex {
  /** `_class_name`. */
  readonly pipeline: string;
  /** Folder → class, of the parts that are there (`[null, null]` means left out). */
  readonly components: ReadonlyMap<string, ComponentClass>;
}

/** Pipelines of other models, for the message. */
const OTHER_PIPELINES: readonly (readonly [beginning: string, model: string])[] = [
  ['StableDiffusionXLInpaint', 'a Stable Diffusion XL inpainting model'],
  ['StableDiffusionXLImg2Img', 'a Stable Diffusion XL refiner'],
  ['StableDiffusionXL', 'a Stable Diffusion XL model'],
  ['StableDiffusion3', 'a Stable Diffusion 3 model'],
  ['StableDiffusionInpaint', 'a Stable Diffusion inpainting model'],
  ['StableDiffusionControlNet', 'a Stable Diffusion model with a ControlNet'],
  ['StableDiffusionUpscale', 'an upscaling model'],
  ['StableDiffusionLatentUpscale', 'an upscaling model'],
  ['LatentConsistencyModel', 'a latent consistency model'],
  ['Flux2', 'a FLUX.2 model'],
  ['Flux', 'a FLUX.1 model'],
  ['HiDream', 'a HiDream model'],
  ['ZImage', 'a Z-Image model'],
  ['PixArt', 'a PixArt model'],
  ['Sana', 'a Sana model'],
  ['Kandinsky', 'a Kandinsky model'],
  ['Wan', 'a Wan video model'],
];

/** Classes of the parts of `StableDiffusionPipeline` that pictures need. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  unet: ['UNet2DConditionModel'],
  vae: ['AutoencoderKL'],
  text_encoder: ['CLIPTextModel'],
  tokenizer: ['CLIPTokenizer', 'CLIPTokenizerFast'],
};

/**
 * @param where names the file in messages
 * @throws unsupportedModel saying what the folder is, invalidModelConfig
 */
export function parseModelIndex(json: unknown, where: string): ModelIndex {
  const f = fields(json, where);
  const pipeline = f.text('_class_name');
  if (pipeline !== 'StableDiffusionPipeline') throw unsupportedPipeline(pipeline, where);
  const components = new Map(
    Object.entries(typeof json === 'object' ? (json ?? {}) : {}).flatMap(([name, value]) => {
      const component = parseComponent(value);
      return component === undefined ? [] : [[name, component] as const];
    }),
  );
  for (const [part, classes] of Object.entries(PARTS)) checkPart(components.get(part), part, classes, where);
  if (!components.has('scheduler')) throw f.error('scheduler', 'a [library, class] pair');
  return { pipeline, components };
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
    `${where} is of ${show(pipeline)}: ${model}. Only StableDiffusionPipeline can be run so far.`,
    {
      parameter: 'model',
      hint: 'Use a model of Stable Diffusion 1.x or 2.x in diffusers format.',
    },
  );
}
