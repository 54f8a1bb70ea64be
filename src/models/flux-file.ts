/** @file Whether a file holds FLUX.1's transformer, from its names: under which of them, and what else of the model is beside it. Reads no tensor. */
import { UNET_LAYOUT } from './layouts/diffusers.js';
import { FLUX_LAYOUT } from './layouts/flux.js';
import { withPrefix, type TensorShapes, type WeightLayout } from './layouts/layout.js';

/** What a model needs besides its transformer. */
export const FLUX_PARTS = ['clip', 't5', 'vae'] as const;
export type FluxPart = (typeof FLUX_PARTS)[number];

/** What a file with FLUX.1's transformer holds. */
export interface FluxFile {
  /** Where the transformer's weights are. */
  readonly transformer: WeightLayout;
  /** Guidance-distilled (dev): the guidance scale is an input. */
  readonly guidance: boolean;
}

/** ComfyUI's and diffusers' prefixes; published files have none. */
const PREFIXES = ['', 'model.diffusion_model.', 'diffusion_model.', 'transformer.'];

/** Layers that all of FLUX.1 have, but none of its relatives (FLUX.2, Chroma, HunyuanVideo) under these names. */
const LAYERS = [
  'x_embedder',
  'context_embedder',
  'time_text_embed.text_embedder.linear_1',
  'transformer_blocks.0.attn.to_q',
  'norm_out.linear', // which its ControlNets lack
];

/** `undefined` when the file has no such transformer. */
export function detectFluxFile(tensors: TensorShapes): FluxFile | undefined {
  for (const layout of [FLUX_LAYOUT, UNET_LAYOUT]) {
    for (const prefix of PREFIXES) {
      const transformer = withPrefix(prefix, layout);
      const has = (layer: string): boolean =>
        transformer.places(`${layer}.weight`).some(({ name }) => tensors.has(name));
      if (!LAYERS.every(has)) continue;
      const guidance = has('time_text_embed.guidance_embedder.linear_1');
      return { transformer, guidance };
    }
  }
  return undefined;
}

/** What comes before the names of a part; files of one part have nothing there. */
const PART_PREFIXES = {
  clip: ['', 'text_encoders.clip_l.transformer.'],
  t5: ['', 'text_encoders.t5xxl.transformer.'],
  vae: ['', 'vae.', 'first_stage_model.'],
} as const;

/** A tensor of each part that nothing else has; T5's also by its name in GGUF files. */
const MARKS = {
  clip: ['text_model.embeddings.token_embedding.weight'],
  t5: ['encoder.final_layer_norm.weight', 'enc.output_norm.weight'],
  vae: ['decoder.conv_in.weight'],
} as const;

/** The other parts of a model that a file holds, each with what comes before its names. */
export function detectFluxParts(tensors: TensorShapes): Readonly<Partial<Record<FluxPart, string>>> {
  const found = FLUX_PARTS.flatMap((part) => {
    const prefix = PART_PREFIXES[part].find((start) => MARKS[part].some((mark) => tensors.has(start + mark)));
    return prefix === undefined ? [] : [[part, prefix] as const];
  });
  return Object.fromEntries(found);
}
