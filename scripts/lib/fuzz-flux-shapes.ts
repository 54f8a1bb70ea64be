/** @file Names and shapes that FLUX.1's files have, small: for the fuzzer, which changes them. Data only. */

/** Name → shape. */
export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Sizes of a transformer; heads are 128 wide, as in every published model. */
export interface FluxSizes {
  readonly width: number;
  readonly head: number;
  readonly latents: number;
  readonly text: number;
  readonly pooled: number;
  readonly double: number;
  readonly single: number;
  readonly guidance: boolean;
}

export const SMALL_FLUX: FluxSizes = {
  width: 256,
  head: 128,
  latents: 64,
  text: 256,
  pooled: 32,
  double: 2,
  single: 2,
  guidance: true,
};

const prefixed = (prefix: string, shapes: Shapes): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));

const merged = (all: readonly Shapes[]): Shapes => Object.fromEntries(all.flatMap(Object.entries<readonly number[]>));

const linear = (name: string, out: number, inputs: number): Shapes => ({
  [`${name}.weight`]: [out, inputs],
  [`${name}.bias`]: [out],
});

/** The transformer in the names of the original code (github.com/black-forest-labs/flux, `src/flux/model.py`). */
export function originalFlux({ width: d, head, latents, text, pooled, double, single, guidance }: FluxSizes): Shapes {
  const embedder = (name: string, inputs: number): Shapes => ({
    ...linear(`${name}.in_layer`, d, inputs),
    ...linear(`${name}.out_layer`, d, d),
  });
  const norms = (name: string): Shapes => ({
    [`${name}.query_norm.scale`]: [head],
    [`${name}.key_norm.scale`]: [head],
  });
  const stream = (name: string): Shapes => ({
    ...linear(`${name}_attn.qkv`, 3 * d, d),
    ...linear(`${name}_attn.proj`, d, d),
    ...norms(`${name}_attn.norm`),
    ...linear(`${name}_mlp.0`, 4 * d, d),
    ...linear(`${name}_mlp.2`, d, 4 * d),
    ...linear(`${name}_mod.lin`, 6 * d, d),
  });
  const single_ = {
    ...linear('linear1', 7 * d, d),
    ...linear('linear2', d, 5 * d),
    ...norms('norm'),
    ...linear('modulation.lin', 3 * d, d),
  };
  return {
    ...linear('img_in', d, latents),
    ...linear('txt_in', d, text),
    ...embedder('time_in', 256),
    ...embedder('vector_in', pooled),
    ...(guidance ? embedder('guidance_in', 256) : {}),
    ...merged(
      Array.from({ length: double }, (_, i) => prefixed(`double_blocks.${i}.`, { ...stream('img'), ...stream('txt') })),
    ),
    ...merged(Array.from({ length: single }, (_, i) => prefixed(`single_blocks.${i}.`, single_))),
    ...linear('final_layer.linear', latents, d),
    ...linear('final_layer.adaLN_modulation.1', 2 * d, d),
  };
}

/** A T5 encoder in transformers' names. */
export function t5Shapes(width: number, layers: number): Shapes {
  const inner = 64;
  const layer = {
    ...Object.fromEntries(['q', 'k', 'v'].map((name) => [`layer.0.SelfAttention.${name}.weight`, [inner, width]])),
    'layer.0.SelfAttention.o.weight': [width, inner],
    'layer.0.layer_norm.weight': [width],
    'layer.1.DenseReluDense.wi_0.weight': [128, width],
    'layer.1.DenseReluDense.wi_1.weight': [128, width],
    'layer.1.DenseReluDense.wo.weight': [width, 128],
    'layer.1.layer_norm.weight': [width],
  };
  return {
    'shared.weight': [512, width],
    'encoder.final_layer_norm.weight': [width],
    'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight': [32, 2],
    ...merged(Array.from({ length: layers }, (_, i) => prefixed(`encoder.block.${i}.`, layer))),
  };
}

/** A T5 encoder in the names of GGUF files (github.com/ggml-org/llama.cpp, gguf-py/gguf/tensor_mapping.py). */
export function ggufT5Shapes(width: number, layers: number): Shapes {
  const inner = 64;
  const layer = {
    'attn_q.weight': [inner, width],
    'attn_k.weight': [inner, width],
    'attn_v.weight': [inner, width],
    'attn_o.weight': [width, inner],
    'attn_norm.weight': [width],
    'ffn_gate.weight': [128, width],
    'ffn_up.weight': [128, width],
    'ffn_down.weight': [width, 128],
    'ffn_norm.weight': [width],
  };
  return {
    'token_embd.weight': [512, width],
    'enc.output_norm.weight': [width],
    'enc.blk.0.attn_rel_b.weight': [32, 2],
    ...merged(Array.from({ length: layers }, (_, i) => prefixed(`enc.blk.${i}.`, layer))),
  };
}

/** A model whose parts are in one file, in ComfyUI's names. @param clip, vae as their own files have them */
export function allInOne(transformer: Shapes, t5: Shapes, clip: Shapes, vae: Shapes): Shapes {
  return {
    ...prefixed('model.diffusion_model.', transformer),
    ...prefixed('text_encoders.t5xxl.transformer.', t5),
    ...prefixed('text_encoders.clip_l.transformer.', clip),
    ...prefixed('vae.', vae),
  };
}

const SCALAR: readonly number[] = [];

/** How a LoRA names a layer's two factors, and whether it has an alpha. */
interface Naming {
  readonly module: (original: string) => string | undefined;
  readonly down: string;
  readonly up: string;
  readonly alpha: boolean;
}

/** XLabs' processors: attention of the image is 1, of the text 2; single blocks have no number. */
function xlabsName(original: string): string | undefined {
  const [, block, stream, layer] = /^(double_blocks\.\d+)\.(img|txt)_attn\.(qkv|proj)$/.exec(original) ?? [];
  if (block !== undefined) return `${block}.processor.${layer}_lora${stream === 'img' ? 1 : 2}`;
  const [, single] = /^(single_blocks\.\d+)\.linear1$/.exec(original) ?? [];
  return single && `${single}.processor.qkv_lora`;
}

const NAMINGS: Readonly<Record<string, Naming>> = {
  kohya: {
    module: (original) => `lora_unet_${original.replaceAll('.', '_')}`,
    down: 'lora_down',
    up: 'lora_up',
    alpha: true,
  },
  comfy: { module: (original) => `diffusion_model.${original}`, down: 'lora_A', up: 'lora_B', alpha: false },
  control: { module: (original) => original, down: 'lora_A', up: 'lora_B', alpha: false },
  xlabs: { module: xlabsName, down: 'down', up: 'up', alpha: false },
};

/** A LoRA of rank 4 for the matrices of `model` (original names), in each of the namings that files have. */
export function fluxLoras(model: Shapes): readonly Shapes[] {
  const matrices = Object.entries(model).filter(([name, shape]) => name.endsWith('.weight') && shape.length === 2);
  return Object.values(NAMINGS).map(({ module, down, up, alpha }) =>
    Object.fromEntries(
      matrices.flatMap(([name, [out = 0, inputs = 0]]): readonly (readonly [string, readonly number[]])[] => {
        const renamed = module(name.replace(/\.weight$/, ''));
        if (renamed === undefined) return [];
        return [
          [`${renamed}.${down}.weight`, [4, inputs]],
          [`${renamed}.${up}.weight`, [out, 4]],
          ...(alpha ? [[`${renamed}.alpha`, SCALAR] as const] : []),
        ];
      }),
    ),
  );
}

/** A LoRA of rank 4 for the matrices of `model` (diffusers' names), as diffusers and as kohya write such names. */
export function diffusersFluxLoras(model: Shapes): readonly Shapes[] {
  const matrices = Object.entries(model).filter(([name, shape]) => name.endsWith('.weight') && shape.length === 2);
  const write = (module: (name: string) => string, down: string, up: string): Shapes =>
    Object.fromEntries(
      matrices.flatMap(([name, [out = 0, inputs = 0]]): readonly (readonly [string, readonly number[]])[] => {
        const renamed = module(name.replace(/\.weight$/, ''));
        return [
          [`${renamed}.${down}.weight`, [4, inputs]],
          [`${renamed}.${up}.weight`, [out, 4]],
        ];
      }),
    );
  return [
    write((name) => `transformer.${name}`, 'lora_A', 'lora_B'),
    write((name) => `lora_transformer_${name.replaceAll('.', '_')}`, 'lora_down', 'lora_up'),
  ];
}
