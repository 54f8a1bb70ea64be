/** @file Whether a file holds FLUX.1's transformer, from its names: under which of them, and what else of the model is beside it. Reads no tensor. */
import { UNET_LAYOUT } from './layouts/diffusers.js';
import { FLUX_LAYOUT } from './layouts/flux.js';
import { withPrefix, type TensorShapes, type WeightLayout } from './layouts/layout.js';

/** What a file with FLUX.1's transformer holds. */
export interface FluxFile {
  /** Where the transformer's weights are. */
  readonly transformer: WeightLayout;
  /** Guidance-distilled (dev): the guidance scale is an input. */
  readonly guidance: boolean;
  /** What comes before the names of the other parts, where the file has them. */
  readonly clip?: string;
  readonly t5?: string;
  readonly vae?: string;
}

/** ComfyUI's and diffusers' prefixes; published files have none. */
const PREFIXES = ['', 'model.diffusion_model.', 'diffusion_model.', 'transformer.'];

/** Layers that all of FLUX.1 have, but none of its relatives (FLUX.2, Chroma, HunyuanVideo) under these names. */
const LAYERS = ['x_embedder', 'context_embedder', 'time_text_embed.text_embedder.linear_1', 'transformer_blocks.0.attn.to_q'];

const CLIP_PREFIX = 'text_encoders.clip_l.transformer.';
const T5_PREFIX = 'text_encoders.t5xxl.transformer.';
const VAE_PREFIXES = ['vae.', 'first_stage_model.'];

/** `undefined` when the file has no such transformer. */
export function detectFluxFile(tensors: TensorShapes): FluxFile | undefined {
  for (const layout of [FLUX_LAYOUT, UNET_LAYOUT]) {
    for (const prefix of PREFIXES) {
      const transformer = withPrefix(prefix, layout);
      const has = (layer: string): boolean =>
        transformer.places(`${layer}.weight`).some(({ name }) => tensors.has(name));
      if (!LAYERS.every(has)) continue;
      const guidance = has('time_text_embed.guidance_embedder.linear_1');
      return { transformer, guidance, ...otherParts(tensors) };
    }
  }
  return undefined;
}

function otherParts(tensors: TensorShapes): Omit<FluxFile, 'transformer' | 'guidance'> {
  const clip = tensors.has(`${CLIP_PREFIX}text_model.embeddings.token_embedding.weight`);
  const t5 = tensors.has(`${T5_PREFIX}encoder.final_layer_norm.weight`);
  const vae = VAE_PREFIXES.find((prefix) => tensors.has(`${prefix}decoder.conv_in.weight`));
  return {
    ...(clip ? { clip: CLIP_PREFIX } : {}),
    ...(t5 ? { t5: T5_PREFIX } : {}),
    ...(vae === undefined ? {} : { vae }),
  };
}
