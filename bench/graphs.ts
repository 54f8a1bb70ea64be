/**
 * @file What writing a graph costs at real sizes: nodes, bytes of the model, milliseconds to write and encode; and what a step costs with a
 * ControlNet, as ratios of shader dispatches and of arithmetic to the UNet's step, told from the graphs alone.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { vaeDecoderGraph } from '../src/graphs/autoencoder-kl.js';
import { clipTextGraph } from '../src/graphs/clip-text.js';
import { controlNetGraph, controlNetHintGraph, type ControlNetShape } from '../src/graphs/controlnet.js';
import { unetGraph } from '../src/graphs/unet.js';
import { parseAutoencoderKLConfig } from '../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../src/models/configs/clip-text.js';
import { parseControlNetConfig } from '../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../src/models/configs/unet.js';
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { encodeModel } from '../src/onnx/encode.js';
import type { Graph } from '../src/onnx/types.js';
import { costOf, type Cost } from './cost.js';

const options = { dialect: webgpuDialect, dtype: 'float32' } as const;

function config(name: string): unknown {
  const path = join(import.meta.dirname, `../test/golden/published/${name}.json`);
  return (JSON.parse(readFileSync(path, 'utf8')) as { readonly config: unknown }).config;
}

/** Steps with classifier-free guidance, both branches in one batch. */
const STEPS = {
  'SD 1.5, 512²': { family: 'sd15', shape: { batch: 2, height: 64, width: 64, textTokens: 77 } },
  'SDXL, 1024²': { family: 'sdxl', shape: { batch: 2, height: 128, width: 128, textTokens: 77 } },
} as const;

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
  'SD 1.5 ControlNet, 512², CFG': () =>
    controlNetGraph(parseControlNetConfig(config('sd15-controlnet')), STEPS['SD 1.5, 512²'].shape, options),
  'SDXL ControlNet, 1024², CFG': () =>
    controlNetGraph(parseControlNetConfig(config('sdxl-controlnet')), STEPS['SDXL, 1024²'].shape, options),
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
  return Promise.resolve([...lines, '', ...controlNetCosts()]);
}

/** One line per family and form: dispatches and arithmetic beside the UNet's, and the bytes of the residuals. */
function controlNetCosts(): readonly string[] {
  const lines = ['cost per step                              dispatches  of the UNet’s   TFLOP  of the UNet’s'];
  for (const [name, { family, shape }] of Object.entries(STEPS)) {
    const [unet, control] = [
      parseUNetConfig(config(`${family}-unet`)),
      parseControlNetConfig(config(`${family}-controlnet`)),
    ];
    const plain = costOf(unetGraph(unet, shape, options));
    const line = (what: string, { dispatches, flops }: Cost): string =>
      [
        `${name}: ${what}`.padEnd(42),
        String(dispatches).padStart(10),
        (dispatches / plain.dispatches).toFixed(3).padStart(14),
        (flops / 1e12).toFixed(3).padStart(7),
        (flops / plain.flops).toFixed(3).padStart(14),
      ].join(' ');
    const net = (form: Partial<ControlNetShape>, previous = false): Cost =>
      costOf(controlNetGraph(control, { ...shape, ...form }, { ...options, previous }));
    const taking = costOf(unetGraph(unet, shape, { ...options, residuals: true }));
    lines.push(
      line('UNet', plain),
      line('what its residuals add', {
        dispatches: taking.dispatches - plain.dispatches,
        flops: taking.flops - plain.flops,
      }),
      line('a ControlNet', net({})),
      line('another one, added to it', net({}, true)),
      line('one that sees the prompt alone', net({ batch: 1, rows: 2 })),
      line('the guide, once a picture', costOf(controlNetHintGraph(control, shape, options))),
    );
  }
  return lines;
}
