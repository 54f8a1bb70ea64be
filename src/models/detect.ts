/**
 * @file What a .safetensors file is, from the names and shapes of its tensors and the header's metadata; never from the file's name, and
 * without reading a tensor. A checkpoint comes with its family and what the header says of its training, anything else with advice.
 */
import { FAMILY_FACTS, type CheckpointFamily, type PredictionType } from './checkpoint-families.js';
import type { ModelFamily } from './families.js';
import { FOREIGN_FILES } from './foreign-files.js';
import { readLdmUNetBlocks } from './layouts/ldm-unet.js';
import { tensorsUnder, type TensorShapes } from './layouts/layout.js';

/** What the header of a file says. */
export interface FileHeader {
  readonly tensors: TensorShapes;
  /** `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** A whole model in one file, in the layout of the original code. */
export interface Checkpoint {
  readonly kind: 'checkpoint';
  readonly family: CheckpointFamily;
  /** 4, or 9 for an inpainting model. */
  readonly inChannels: number;
  /** `undefined`: the header does not say. */
  readonly prediction: PredictionType | undefined;
  readonly zeroTerminalSnr: boolean;
  readonly hasVae: boolean;
}

/** Anything else. */
export interface OtherFile {
  readonly kind: 'lora' | 'controlnet' | 'embedding' | 'vae' | 'textEncoder' | 'unet' | 'other' | 'unknown';
  /** Of add-ons, where it shows. */
  readonly family?: ModelFamily;
  /** Continues "NAME is …", e.g. `a LoRA for Stable Diffusion XL`. */
  readonly what: string;
  /** What it can be used for. */
  readonly hint: string;
}

export type FileContents = Checkpoint | OtherFile;

export const UNET_PREFIX = 'model.diffusion_model.';
export const VAE_PREFIX = 'first_stage_model.';

/** Looks at a few thousand names once; the time is that of a pass over them. */
export function detectFile(header: FileHeader): FileContents {
  return addOn(header) ?? (hasUNet(header) ? detectCheckpoint(header) : undefined) ?? foreign(header) ?? UNKNOWN;
}

const UNKNOWN: OtherFile = {
  kind: 'unknown',
  what: 'a file without any weights that are known',
  hint: 'Models are Stable Diffusion 1, 2 or XL or FLUX.1, as a diffusers folder or as one checkpoint file.',
};

function hasUNet({ tensors }: FileHeader): boolean {
  return tensors.has(`${UNET_PREFIX}input_blocks.0.0.weight`);
}

function detectCheckpoint(header: FileHeader): FileContents {
  const { tensors } = header;
  const unet = tensorsUnder(UNET_PREFIX, tensors);
  const inChannels = unet.get('input_blocks.0.0.weight')?.shape[1] ?? 0;
  const other = otherUNet(header, unet, inChannels);
  if (other !== undefined) return { kind: 'other', what: other, hint: 'It cannot be run here.' };
  const family = FAMILIES.find((candidate) =>
    FAMILY_FACTS[candidate].encoders.every(({ prefix, layout }) => has(tensors, prefix, TOKEN_TABLES[layout])),
  );
  if (family === undefined) {
    return {
      kind: 'unet',
      what: 'a UNet without its text encoder',
      hint: 'Use the full checkpoint (UNet, text encoder and VAE in one file), or the diffusers folder of this model.',
    };
  }
  return {
    kind: 'checkpoint',
    family,
    inChannels,
    ...training(header),
    hasVae: tensors.has(`${VAE_PREFIX}decoder.conv_in.weight`),
  };
}

const FAMILIES = ['sdxl', 'sdxl-refiner', 'sd2', 'sd1'] as const satisfies readonly CheckpointFamily[];

const TOKEN_TABLES = {
  clip: /^(text_model\.)?embeddings\.token_embedding\.weight$/,
  openClip: /^token_embedding\.weight$/,
} as const;

/** UNets with the same names that are for other pipelines. */
function otherUNet({ tensors }: FileHeader, unet: TensorShapes, inChannels: number): string | undefined {
  if (tensors.has('edm_mean') || tensors.has('edm_vpred.sigma_max')) {
    return 'a Stable Diffusion XL model trained with EDM noise levels (Playground v2.5, CosXL)';
  }
  if ([...unet.keys()].some((name) => name.includes('.time_stack.'))) return 'a video model (Stable Video Diffusion)';
  if (inChannels === 5) return 'a Stable Diffusion 2 depth model (5 input channels)';
  if (inChannels === 7) return 'an upscaling model (7 input channels)';
  if (inChannels === 8) return 'an InstructPix2Pix model (8 input channels)';
  if (tensors.has('embedder.model.visual.proj') || tensors.has('noise_augmentor.data_mean')) {
    return 'a Stable Diffusion 2 unCLIP model';
  }
  if (inChannels !== 4 && inChannels !== 9) return `a UNet of ${inChannels} input channels (4 or 9 were expected)`;
  if (readLdmUNetBlocks(unet.keys()) === undefined) return 'a UNet with levels of unequal length, or an incomplete one';
  return undefined;
}

/**
 * Epsilon or v. Told by: the marker keys `v_pred` and `ztsnr`, which fine-tunes of SDXL carry, and the metadata keys
 * `modelspec.prediction_type` and `modelspec.architecture` (github.com/Stability-AI/ModelSpec). Without these, nothing in a
 * header tells: the 512 (epsilon) and 768 (v) forms of Stable Diffusion 2 have the same names and shapes.
 */
function training({ tensors, metadata }: FileHeader): Pick<Checkpoint, 'prediction' | 'zeroTerminalSnr'> {
  return {
    prediction: tensors.has('v_pred') ? 'v_prediction' : declaredPrediction(metadata),
    zeroTerminalSnr: tensors.has('ztsnr'),
  };
}

function declaredPrediction(metadata: ReadonlyMap<string, string>): PredictionType | undefined {
  const declared = metadata.get('modelspec.prediction_type')?.toLowerCase().trim() ?? '';
  if (declared === 'epsilon') return 'epsilon';
  if (['v', 'v_prediction', 'velocity'].includes(declared)) return 'v_prediction';
  const architecture = metadata.get('modelspec.architecture') ?? '';
  if (/^stable-diffusion-v2-768-v\b/.test(architecture)) return 'v_prediction';
  if (/^stable-diffusion-v2-512\b/.test(architecture)) return 'epsilon';
  return undefined;
}

/** LoRA, ControlNet and embedding: looked for first, since some carry tensors of other kinds too. */
function addOn({ tensors }: FileHeader): OtherFile | undefined {
  const names = [...tensors.keys()];
  if (names.some((name) => LORA.test(name))) return describe('lora', 'a LoRA', 'It belongs into lora[], beside a model.', tensors);
  if (names.some((name) => CONTROLNET.test(name))) {
    return describe('controlnet', 'a ControlNet', 'It belongs into controlNet[], beside a model.', tensors);
  }
  if (isEmbedding(tensors)) {
    const hint = 'It belongs into embeddings[], beside a model.';
    return describe('embedding', 'a textual inversion embedding', hint, tensors);
  }
  return undefined;
}

/** LoRA (kohya, diffusers, peft, old attention processors), LoCon, LoHa, LoKr, DoRA, OFT; what is a file of full differences only shows in its addresses. */
const LORA = new RegExp(
  [
    String.raw`(\.|_)lora\d?(_up|_down|_A|_B|_mid|\.up|\.down|_linear_layer)\b`,
    String.raw`\.(hada_w[12]_[ab]|lokr_w[12](_[ab])?|dora_scale|oft_(blocks|diag))$`,
    String.raw`^(lora_(unet|te\d?|transformer)|lycoris)_.+\.(diff(_b)?|[wb]_norm)$`,
    String.raw`^(unet|diffusion_model|text_encoder(_2)?)\..+\.diff(_b)?$`,
  ].join('|'),
);

const CONTROLNET = /^(control_model\.)?(input_hint_block\.0\.|zero_convs\.0\.)|^controlnet_(cond_embedding|down_blocks|blocks|x_embedder)\.|^lora_controlnet$/;

/** At most a handful of small tables of vectors: `emb_params`, A1111's `string_to_param`, SDXL's `clip_l` and `clip_g`, or one token. */
function isEmbedding(tensors: TensorShapes): boolean {
  const flat = [...tensors.values()].every(({ shape }) => shape.length === 1 || shape.length === 2);
  const known = [...tensors.keys()].some((name) => /^(emb_params|string_to_param\..*|clip_[lg])$/.test(name));
  const single = tensors.size === 1 && ![...tensors.keys()].some((name) => /\.(weight|bias)$/.test(name));
  return flat && ((known && tensors.size <= 8) || single);
}

function describe(kind: OtherFile['kind'], what: string, hint: string, tensors: TensorShapes): OtherFile {
  const names = [...tensors.keys()];
  if (names.some((name) => FLUX_ADD_ON.test(name))) return { kind, family: 'flux', what: `${what} for FLUX.1`, hint };
  const family = familyOfAddOn(tensors);
  return family === undefined ? { kind, what, hint } : { kind, family, what: `${what} for ${FAMILY_FACTS[family].name}`, hint };
}

const FLUX_ADD_ON = /(double_blocks|single_blocks|single_transformer_blocks|^controlnet_x_embedder|^transformer\.transformer_blocks|^lora_transformer_)/;
/** Reads the text states: its input is as wide as they are. */
const READS_TEXT =
  /attn2[._](processor\.)?to_[kv](\.(weight|diff|hada_w[12]_b)|(\.lora_down|[._]lora\.down|\.lora_linear_layer\.down|\.lora_A(\.[^.]+)?)\.weight)$/;
/** kohya numbers text encoders, and writes the original code's names, for XL alone; only XL has levels of more than one transformer block. */
const SDXL_NAMES = /^(lora_te[12]_|text_encoder_2\.|lora_unet_(input|middle|output)_blocks?_)|attentions[._]\d+[._]transformer_blocks[._][1-9]/;

/** By the width of the text states, else by that of the vectors, else by names that only one family has. */
function familyOfAddOn(tensors: TensorShapes): CheckpointFamily | undefined {
  const byWidth = (width: number | undefined): CheckpointFamily | undefined =>
    FAMILIES.find((family) => FAMILY_FACTS[family].textWidth === width);
  for (const [name, { shape }] of tensors) if (READS_TEXT.test(name)) return byWidth(shape[1]);
  if (tensors.has('clip_g')) return 'sdxl';
  if ([...tensors.keys()].some((name) => SDXL_NAMES.test(name))) return 'sdxl';
  const [vectors] = isEmbedding(tensors) ? [...tensors.values()] : [];
  const width = vectors?.shape.at(-1);
  return width === 768 || width === 1024 ? byWidth(width) : undefined;
}

function foreign({ tensors }: FileHeader): OtherFile | undefined {
  const names = [...tensors.keys()];
  return FOREIGN_FILES.find(({ has: mark }) => names.some((name) => mark.test(name)))?.file;
}

/** Whether some name is `prefix` followed by what `rest` matches. */
function has(tensors: TensorShapes, prefix: string, rest: RegExp): boolean {
  return [...tensors.keys()].some((name) => name.startsWith(prefix) && rest.test(name.slice(prefix.length)));
}
