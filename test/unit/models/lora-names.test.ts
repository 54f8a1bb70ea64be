/** @file Names and shapes of LoRA files against the published models at their real size: every layer is found, under every naming, as itself. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { LoraNetwork, NetworkWeights } from '../../../src/models/lora/addresses.js';
import { matchLora, type LoraMatch } from '../../../src/models/lora/match.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

function published(path: string): readonly (readonly [string, readonly number[]])[] {
  const text = readFileSync(new URL(`../../golden/published/${path}.json`, import.meta.url), 'utf8');
  return Object.entries((JSON.parse(text) as { readonly tensors: Shapes }).tensors);
}

function network(name: LoraNetwork, path: string): NetworkWeights {
  return { network: name, weights: published(path).map(([tensor, shape]) => ({ name: tensor, shape })) };
}

const MODELS = {
  sd15: [network('unet', 'sd15-unet'), network('encoder1', 'clip-l')],
  sd21: [network('unet', 'sd21-unet'), network('encoder1', 'clip-h')],
  sdxl: [network('unet', 'sdxl-unet'), network('encoder1', 'clip-l'), network('encoder2', 'clip-g')],
} as const;
const NAMES = ['sd15', 'sd21', 'sdxl'] as const;

const RANK = 4;

/** The two tensors of a LoRA of a weight of this shape. */
function factors(
  address: string,
  [rows = 0, ...rest]: readonly number[],
): readonly (readonly [string, { shape: readonly number[] }])[] {
  return [
    [`${address}.lora_down.weight`, { shape: [RANK, ...rest] }],
    [`${address}.lora_up.weight`, { shape: [rows, RANK, ...rest.slice(1).map(() => 1)] }],
  ];
}

function match(
  layers: readonly (readonly [string, readonly number[]])[],
  networks: readonly NetworkWeights[],
): LoraMatch {
  const tensors = new Map(layers.flatMap(([address, shape]) => factors(address, shape)));
  return matchLora({ name: 'style.safetensors', what: 'a LoRA', tensors }, networks);
}

/** Matrices and kernels: what LoRAs are trained on. */
function trainable(
  weights: Iterable<readonly [string, readonly number[]]>,
): readonly (readonly [string, readonly number[]])[] {
  return [...weights].flatMap(([name, shape]) =>
    name.endsWith('.weight') && shape.length >= 2 && !/(token|position)_embedding/.test(name)
      ? [[name.slice(0, -'.weight'.length), shape]]
      : [],
  );
}

const flat = (name: string): string => name.replaceAll('.', '_');

describe.each(NAMES)('%s', (model) => {
  const networks = MODELS[model];
  const [unet] = networks;
  const layers = trainable([...unet.weights].map(({ name, shape }) => [name, shape]));

  it("every layer of the UNet, under the names of the original checkpoint's own file", () => {
    const prefix = 'model.diffusion_model.';
    const original = trainable(published(`ldm/${model}`)).filter(([name]) => name.startsWith(prefix));
    const found = match(
      original.map(([name, shape]) => [`lora_unet_${flat(name.slice(prefix.length))}`, shape]),
      networks,
    );
    expect(found.unmatched).toEqual([]);
    expect(new Set(found.changes.map(({ weight }) => weight)).size).toBe(original.length);
    // the checkpoint and the diffusers folder have the same layers, in another order
    expect(original.length).toBe(layers.length);
  });

  it.each([
    ['kohya', (name: string) => `lora_unet_${flat(name)}`],
    ['LyCORIS', (name: string) => `lycoris_${flat(name)}`],
    ['diffusers', (name: string) => `unet.${name}`],
    ['peft', (name: string) => `base_model.model.${name}`],
    ['peft in diffusers', (name: string) => `unet.base_model.model.${name}`],
    ['none', (name: string) => name],
  ] as const)('every layer of the UNet, as itself: %s', (_, addressOf) => {
    const found = match(
      layers.map(([name, shape]) => [addressOf(name), shape]),
      networks,
    );
    expect(found).toMatchObject({ unmatched: [], unused: [] });
    expect(found.changes.map(({ place, weight }) => `${place.network}/${weight}`)).toEqual(
      layers.map(([name]) => `unet/${name}.weight`),
    );
  });
});

describe('text encoders', () => {
  const encoders = [
    ['encoder1', 'clip-l', 'lora_te1_', 'text_encoder.'],
    ['encoder2', 'clip-g', 'lora_te2_', 'text_encoder_2.'],
  ] as const;
  it.each(encoders)('every layer of %s, with and without "text_model"', (name, path, kohya, diffusers) => {
    const layers = trainable([...network(name, path).weights].map((weight) => [weight.name, weight.shape]));
    const without = (layer: string): string => layer.replace(/^text_model\./, '');
    for (const addressOf of [
      (layer: string) => kohya + flat(layer),
      (layer: string) => kohya + flat(without(layer)),
      (layer: string) => diffusers + layer,
      (layer: string) => diffusers + without(layer),
    ]) {
      const found = match(
        layers.map(([layer, shape]) => [addressOf(layer), shape]),
        MODELS.sdxl,
      );
      expect(found).toMatchObject({ unmatched: [], unused: [] });
      expect(found.changes.map(({ place, weight }) => `${place.network}/${weight}`)).toEqual(
        layers.map(([layer]) => `${name}/${layer}.weight`),
      );
    }
  });

  it('of SD 1 and 2 are lora_te_', () => {
    for (const [model, width] of [
      ['sd15', 768],
      ['sd21', 1024],
    ] as const) {
      const found = match([['lora_te_text_model_encoder_layers_3_self_attn_q_proj', [width, width]]], MODELS[model]);
      expect(found.changes.map(({ place, weight }) => [place.network, weight])).toEqual([
        ['encoder1', 'text_model.encoder.layers.3.self_attn.q_proj.weight'],
      ]);
    }
  });

  it('layers behind the last one that is run are unused, which is no fault', () => {
    const run = MODELS.sd15.map(({ network: name, weights }) => ({
      network: name,
      weights: [...weights].filter((weight) => !weight.name.includes('.layers.11.')),
    }));
    const layer = (i: number): string => `lora_te_text_model_encoder_layers_${i}_mlp_fc1`;
    const found = match(
      [
        [layer(10), [3072, 768]],
        [layer(11), [3072, 768]],
      ],
      run,
    );
    expect(found.changes).toHaveLength(1);
    expect(found.unmatched).toEqual([]);
    expect(found.unused).toEqual([`${layer(11)}.lora_down.weight`, `${layer(11)}.lora_up.weight`]);
  });
});

it("a file with layers under both namings: the original code's are dropped, as diffusers does", () => {
  const shape = [640, 640];
  const first = 'lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q';
  const second = 'lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q';
  for (const order of [
    [first, second],
    [second, first],
  ]) {
    const found = match(
      order.map((address) => [address, shape]),
      MODELS.sdxl,
    );
    expect(found.changes.map(({ tensors }) => tensors[0]?.name)).toEqual([`${first}.lora_down.weight`]);
    expect(found.unmatched).toEqual([]);
    expect(found.unused).toEqual([`${second}.lora_down.weight`, `${second}.lora_up.weight`]);
  }
});

describe('the endings that diffusers wrote', () => {
  const attention = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1';
  const encoder = 'text_encoder.text_model.encoder.layers.0.self_attn';
  it.each([
    [
      `unet.${attention}.processor.to_q_lora.down.weight`,
      `unet.${attention}.processor.to_q_lora.up.weight`,
      `${attention}.to_q`,
    ],
    [
      `${attention}.processor.to_out_lora.down.weight`,
      `${attention}.processor.to_out_lora.up.weight`,
      `${attention}.to_out.0`,
    ],
    [`unet.${attention}.to_k.lora.down.weight`, `unet.${attention}.to_k.lora.up.weight`, `${attention}.to_k`],
    [
      `unet.${attention}.to_out.0.lora_A.default.weight`,
      `unet.${attention}.to_out.0.lora_B.default.weight`,
      `${attention}.to_out.0`,
    ],
  ])('%s', (down, up, module) => {
    const tensors = new Map([
      [down, { shape: [RANK, 320] }],
      [up, { shape: [320, RANK] }],
    ]);
    const { changes } = matchLora({ name: 'f', what: 'a LoRA', tensors }, MODELS.sd15);
    expect(changes.map(({ weight }) => weight)).toEqual([`${module}.weight`]);
  });
  it.each([
    [`${encoder}.to_q_lora.down.weight`, `${encoder}.to_q_lora.up.weight`, 'q_proj'],
    [`${encoder}.to_out_lora.down.weight`, `${encoder}.to_out_lora.up.weight`, 'out_proj'],
    [`${encoder}.v_proj.lora_linear_layer.down.weight`, `${encoder}.v_proj.lora_linear_layer.up.weight`, 'v_proj'],
  ])('%s', (down, up, layer) => {
    const tensors = new Map([
      [down, { shape: [RANK, 768] }],
      [up, { shape: [768, RANK] }],
    ]);
    const { changes } = matchLora({ name: 'f', what: 'a LoRA', tensors }, MODELS.sd15);
    expect(changes.map(({ weight }) => weight)).toEqual([`text_model.encoder.layers.0.self_attn.${layer}.weight`]);
  });
});
