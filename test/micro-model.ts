/**
 * @file The smallest diffusers folder that exercises every part, with random weights, written to disk: for tests of lifetime,
 * failure and memory, where no number is claimed. Weights are made for exactly the tensors that our graphs read.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { elementCount } from '../src/base/dtype.js';
import { vaeDecoderGraph, vaeEncoderGraph } from '../src/graphs/autoencoder-kl.js';
import { TOKEN_TABLE, clipTextGraph } from '../src/graphs/clip-text.js';
import { controlNetGraph, controlNetHintGraph } from '../src/graphs/controlnet.js';
import { unetGraph } from '../src/graphs/unet.js';
import { parseAutoencoderKLConfig } from '../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../src/models/configs/clip-text.js';
import { parseControlNetConfig } from '../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../src/models/configs/unet.js';
import { wasmDialect } from '../src/onnx/dialects/wasm.js';
import type { Graph } from '../src/onnx/types.js';

const UNET = {
  _class_name: 'UNet2DConditionModel',
  sample_size: 16,
  block_out_channels: [8, 8],
  layers_per_block: 1,
  norm_num_groups: 2,
  attention_head_dim: 2,
  cross_attention_dim: 8,
  down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
  up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
};
const CONTROL = {
  _class_name: 'ControlNetModel',
  block_out_channels: UNET.block_out_channels,
  layers_per_block: UNET.layers_per_block,
  norm_num_groups: UNET.norm_num_groups,
  attention_head_dim: UNET.attention_head_dim,
  cross_attention_dim: UNET.cross_attention_dim,
  down_block_types: UNET.down_block_types,
  conditioning_embedding_out_channels: [4, 4, 4, 4],
};
const VAE = {
  _class_name: 'AutoencoderKL',
  block_out_channels: [4, 4, 4, 4],
  layers_per_block: 1,
  norm_num_groups: 2,
  down_block_types: Array(4).fill('DownEncoderBlock2D'),
  up_block_types: Array(4).fill('UpDecoderBlock2D'),
};
const TEXT = {
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  vocab_size: 1029,
  eos_token_id: 2,
};
const OPTIONS = { dialect: wasmDialect, dtype: 'float32' } as const;
const SCHEDULER = {
  _class_name: 'EulerDiscreteScheduler',
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  num_train_timesteps: 1000,
  prediction_type: 'epsilon',
};
const INDEX = {
  _class_name: 'StableDiffusionPipeline',
  _diffusers_version: '0.6.0',
  scheduler: ['diffusers', 'EulerDiscreteScheduler'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
};

/** Writes the model into `root`. */
export async function writeMicroModel(root: string): Promise<void> {
  const unet = unetGraph(parseUNetConfig(UNET), { batch: 1, height: 16, width: 16, textTokens: 77 }, OPTIONS);
  const decoder = vaeDecoderGraph(parseAutoencoderKLConfig(VAE), { batch: 1, height: 16, width: 16 }, OPTIONS);
  const encoder = vaeEncoderGraph(parseAutoencoderKLConfig(VAE), { batch: 1, height: 128, width: 128 }, OPTIONS);
  const text = clipTextGraph(
    parseClipTextConfig(TEXT),
    { tokens: 77, hidden: [{ skip: 0, norm: true }], projected: false, masked: false },
    OPTIONS,
  );
  const write = writerInto(root);
  await write('model_index.json', JSON.stringify(INDEX));
  await write('unet/config.json', JSON.stringify(UNET));
  await write('vae/config.json', JSON.stringify(VAE));
  await write('text_encoder/config.json', JSON.stringify(TEXT));
  await write('scheduler/scheduler_config.json', JSON.stringify(SCHEDULER));
  await write('unet/diffusion_pytorch_model.safetensors', randomWeights([unet], {}));
  await write('vae/diffusion_pytorch_model.safetensors', randomWeights([decoder, encoder], {}));
  await write(
    'text_encoder/model.safetensors',
    randomWeights([text], { [TOKEN_TABLE]: [TEXT.vocab_size, TEXT.hidden_size] }),
  );
  await cp(join(import.meta.dirname, 'golden/models/sd15-tiny/tokenizer'), join(root, 'tokenizer'), {
    recursive: true,
  });
}

/** Writes a ControlNet for the model into `root`. */
export async function writeMicroControlNet(root: string): Promise<void> {
  const config = parseControlNetConfig(CONTROL);
  const shape = { batch: 1, height: 16, width: 16, textTokens: 77 };
  const graphs = [controlNetGraph(config, shape, OPTIONS), controlNetHintGraph(config, shape, OPTIONS)];
  const write = writerInto(root);
  await write('config.json', JSON.stringify(CONTROL));
  await write('diffusion_pytorch_model.safetensors', randomWeights(graphs, {}));
}

/** Writes a LoRA for the model into `root`: of a linear layer and of a convolution, rank 2. */
export async function writeMicroLora(root: string): Promise<void> {
  const [linear, kernel] = ['mid_block_attentions_0_transformer_blocks_0_attn1_to_q', 'down_blocks_0_resnets_0_conv1'];
  const shapes = {
    [`lora_unet_${linear}.lora_down.weight`]: [2, 8],
    [`lora_unet_${linear}.lora_up.weight`]: [8, 2],
    [`lora_unet_${kernel}.lora_down.weight`]: [2, 8, 3, 3],
    [`lora_unet_${kernel}.lora_up.weight`]: [8, 2, 1, 1],
  };
  await writerInto(root)('pytorch_lora_weights.safetensors', randomWeights([], shapes));
}

function writerInto(root: string): (path: string, content: string | Uint8Array) => Promise<void> {
  return async (path, content) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
}

/** A safetensors file of small random float32 values; norm weights near 1. */
function randomWeights(graphs: readonly Graph[], more: Readonly<Record<string, readonly number[]>>): Uint8Array {
  const shapes = new Map(Object.entries(more));
  for (const { tensors, value } of graphs.flatMap((graph) => graph.weights))
    for (const name of tensors) shapes.set(name, value.shape);
  let offset = 0;
  const entries = [...shapes].map(([name, shape]) => {
    const start = offset;
    offset += 4 * elementCount(shape);
    return [name, { dtype: 'F32', shape, data_offsets: [start, offset] }] as const;
  });
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)).padEnd(8));
  const padded = Math.ceil(header.length / 8) * 8;
  const file = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(header, 8);
  let state = 1;
  const values = new Float32Array(offset / 4);
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = 0.2 * (state / 2 ** 32 - 0.5);
  }
  file.set(new Uint8Array(values.buffer), 8 + padded);
  return file;
}
