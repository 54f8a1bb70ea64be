/** @file What writing a graph costs at real sizes: nodes, bytes of the model, milliseconds to write and encode. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { vaeDecoderGraph } from '../src/graphs/autoencoder-kl.js';
import { clipTextGraph } from '../src/graphs/clip-text.js';
import { unetGraph } from '../src/graphs/unet.js';
import { parseAutoencoderKLConfig } from '../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../src/models/configs/clip-text.js';
import { parseUNetConfig } from '../src/models/configs/unet.js';
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { encodeModel } from '../src/onnx/encode.js';
import type { Graph } from '../src/onnx/types.js';

const options = { dialect: webgpuDialect, dtype: 'float32' } as const;

function config(name: string): unknown {
  const path = join(import.meta.dirname, `../test/golden/published/${name}.json`);
  return (JSON.parse(readFileSync(path, 'utf8')) as { readonly config: unknown }).config;
}

const GRAPHS: Readonly<Record<string, () => Graph>> = {
  'SD 1.5 UNet, 512², CFG': () =>
    unetGraph(parseUNetConfig(config('sd15-unet')), { batch: 2, height: 64, width: 64, textTokens: 77 }, options),
  'SD 2.1 UNet, 768², CFG': () =>
    unetGraph(parseUNetConfig(config('sd21-unet')), { batch: 2, height: 96, width: 96, textTokens: 77 }, options),
  'SDXL UNet, 1024², CFG': () =>
    unetGraph(parseUNetConfig(config('sdxl-unet')), { batch: 2, height: 128, width: 128, textTokens: 77 }, options),
  'SDXL refiner, 1024², CFG': () =>
    unetGraph(
      parseUNetConfig(config('sdxl-refiner-unet')),
      { batch: 2, height: 128, width: 128, textTokens: 77 },
      options,
    ),
  'SD VAE decoder, 512²': () =>
    vaeDecoderGraph(parseAutoencoderKLConfig(config('sd-vae')), { batch: 1, height: 64, width: 64 }, options),
  'CLIP-L text encoder': () =>
    clipTextGraph(
      parseClipTextConfig(config('clip-l')),
      { tokens: 77, hidden: [{ skip: 0, norm: true }], projected: false, masked: false },
      options,
    ),
};

export function benchGraphs(): Promise<readonly string[]> {
  const lines = ['graph                        nodes  of which free  KB  ms to write and encode (median of 5)'];
  for (const [name, write] of Object.entries(GRAPHS)) {
    const times: number[] = [];
    let graph = write();
    let bytes = 0;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      graph = write();
      bytes = encodeModel(graph, ({ use }) => (use === 'conv' ? 'initializer' : 'input')).bytes.length;
      times.push(performance.now() - start);
    }
    const free = graph.nodes.filter((n) => n.opType === 'Reshape').length;
    const median = times.sort((a, b) => a - b)[2] ?? 0;
    lines.push(
      `${name.padEnd(28)} ${String(graph.nodes.length).padStart(5)}  ${String(free).padStart(13)} ${(bytes / 1024).toFixed(0).padStart(4)}  ${median.toFixed(0)}`,
    );
  }
  return Promise.resolve(lines);
}
