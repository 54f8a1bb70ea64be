/** @file FLUX.1 and T5 at real size against the published checkpoints' weight lists; what their blocks cost; and the tables made for them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { elementCount } from '../../../src/base/dtype.js';
import { vaeDecoderGraph, vaeEncoderGraph } from '../../../src/graphs/autoencoder-kl.js';
import {
  fluxBlockPrefix,
  fluxDoubleBlockGraph,
  fluxEmbedderGraph,
  fluxGraph,
  fluxJoinGraph,
  fluxModulationGraph,
  fluxOutputGraph,
  fluxSingleBlockGraph,
} from '../../../src/graphs/flux.js';
import {
  fluxLatentSize,
  fluxPositions,
  packLatents,
  tokenGrid,
  unpackLatents,
} from '../../../src/graphs/flux-tokens.js';
import { rotaryAngles } from '../../../src/graphs/rope.js';
import { sinusoid } from '../../../src/graphs/sinusoid.js';
import {
  T5_BIAS_TABLE,
  t5BlockGraph,
  t5BlockPrefix,
  t5Bucket,
  t5EncoderGraph,
  t5OutputGraph,
  T5_TOKEN_TABLE,
} from '../../../src/graphs/t5.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseFluxTransformerConfig } from '../../../src/models/configs/flux-transformer.js';
import { parseT5Config } from '../../../src/models/configs/t5.js';
import { wasmDialect } from '../../../src/onnx/dialects/wasm.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { encodeModel } from '../../../src/onnx/encode.js';
import { dispatchCount, peakLiveBytes } from '../../../src/onnx/liveness.js';
import type { Graph } from '../../../src/onnx/types.js';
import { readTensors } from '../../golden-runner/files.js';
import { nodeFolder } from '../../golden-runner/node.js';

const GOLDEN = join(import.meta.dirname, '../../golden');

interface Published {
  readonly config: unknown;
  readonly parameters: number;
  readonly tensors: Readonly<Record<string, readonly number[]>>;
}

const published = (name: string): Published =>
  JSON.parse(readFileSync(join(GOLDEN, `published/${name}.json`), 'utf8')) as Published;

const FLUX = published('flux-dev');
const T5 = published('t5-xxl-encoder');
const flux = parseFluxTransformerConfig(FLUX.config);
const t5 = parseT5Config(T5.config);
/** 1024×1024 pixels, the longest text. */
const shape = { textTokens: 512, imageTokens: 4096 };

/** Every tensor that a graph reads, under the name of the model's files. */
function weightsOf(graph: Graph, prefix = ''): readonly (readonly [string, string])[] {
  return graph.weights.flatMap(({ tensors, value }) =>
    tensors.map((name) => [prefix + name, value.shape.join('x')] as const),
  );
}

function namesAndShapes({ tensors }: Published): Map<string, string> {
  return new Map(Object.entries(tensors).map(([name, size]) => [name, size.join('x')]));
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);

describe.each([webgpuDialect, wasmDialect])('graphs at real size, $name dialect', (dialect) => {
  const options = { dialect, dtype: 'float16' } as const;

  it('FLUX.1-dev, whole, reads exactly the published weights', () => {
    const graph = fluxGraph(flux, shape, options);
    expect(new Map(weightsOf(graph))).toEqual(namesAndShapes(FLUX));
    expect(Object.values(FLUX.tensors).reduce((sum, size) => sum + elementCount(size), 0)).toBe(FLUX.parameters);
    expect(graph.outputs[0]?.value).toMatchObject({ shape: [4096, 64], dtype: 'float32' });
  });

  it('FLUX.1-schnell has no guidance embedding', () => {
    const schnell = { ...flux, guidanceEmbeds: false };
    const graph = fluxGraph(schnell, { ...shape, textTokens: 256 }, options);
    const expected = [...namesAndShapes(FLUX)].filter(([name]) => !name.includes('guidance_embedder'));
    expect(new Map(weightsOf(graph))).toEqual(new Map(expected));
  });

  it.each(['weights', 'given'] as const)('its block sessions read the same, modulation: %s', (modulation) => {
    const blocks = (kind: 'double' | 'single', count: number, write: typeof fluxDoubleBlockGraph): typeof ends => {
      const graphs = [write(flux, shape, { ...options, modulation })];
      if (modulation === 'given') graphs.push(fluxModulationGraph(flux, kind, 28, options));
      return range(count).flatMap((i) => graphs.flatMap((graph) => weightsOf(graph, fluxBlockPrefix(kind, i))));
    };
    const ends = [fluxEmbedderGraph, fluxJoinGraph, fluxOutputGraph].flatMap((write) =>
      weightsOf(write(flux, shape, options)),
    );
    const all = [
      ...ends,
      ...blocks('double', flux.doubleBlocks, fluxDoubleBlockGraph),
      ...blocks('single', flux.singleBlocks, fluxSingleBlockGraph),
    ];
    expect(new Map(all)).toEqual(namesAndShapes(FLUX));
    expect(all).toHaveLength(namesAndShapes(FLUX).size);
  });

  it('T5-XXL, whole and by blocks, reads the published weights but the tables that are looked up', () => {
    const expected = namesAndShapes(T5);
    for (const table of [T5_TOKEN_TABLE, T5_BIAS_TABLE]) expect(expected.delete(table)).toBe(true);
    expected.delete('encoder.embed_tokens.weight'); // the token table's other name
    expect(new Map(weightsOf(t5EncoderGraph(t5, 512, options)))).toEqual(expected);
    const blocks = range(t5.layers).flatMap((i) => weightsOf(t5BlockGraph(t5, 512, options), t5BlockPrefix(i)));
    expect(new Map([...blocks, ...weightsOf(t5OutputGraph(t5, 512, options))])).toEqual(expected);
  });

  it('the 16-channel autoencoder reads exactly the published weights, and has a shift', () => {
    const { config, tensors } = published('flux-vae');
    const vae = parseAutoencoderKLConfig(config);
    expect(vae).toMatchObject({ scalingFactor: 0.3611, shiftFactor: 0.1159, usePostQuantConv: false });
    const decoder = vaeDecoderGraph(vae, { batch: 1, height: 128, width: 128 }, options);
    const encoder = vaeEncoderGraph(vae, { batch: 1, height: 1024, width: 1024 }, options);
    const squeeze = (size: string): string => size.replace(/(x1)+$/, '');
    const read = [...weightsOf(decoder), ...weightsOf(encoder)].map(([name, size]) => [name, squeeze(size)] as const);
    expect(new Map(read)).toEqual(
      new Map(Object.entries(tensors).map(([name, size]) => [name, squeeze(size.join('x'))])),
    );
  });
});

describe('what a block costs on WebGPU', () => {
  const options = { dialect: webgpuDialect, dtype: 'float16' } as const;
  const cost = (graph: Graph): { dispatches: number; mebibytes: number; kilobytes: number } => ({
    dispatches: graph.nodes.reduce((sum, node) => sum + dispatchCount(node), 0),
    mebibytes: Math.round(peakLiveBytes(graph) / 2 ** 20),
    kilobytes: Math.round(encodeModel(graph, () => 'input').bytes.length / 1024),
  });

  it('has these dispatches, MiB of buffers at 1024², and KB of ONNX', () => {
    expect({
      embedders: cost(fluxEmbedderGraph(flux, shape, options)),
      double: cost(fluxDoubleBlockGraph(flux, shape, options)),
      'double, modulation given': cost(fluxDoubleBlockGraph(flux, shape, { ...options, modulation: 'given' })),
      single: cost(fluxSingleBlockGraph(flux, shape, options)),
      'single, modulation given': cost(fluxSingleBlockGraph(flux, shape, { ...options, modulation: 'given' })),
      output: cost(fluxOutputGraph(flux, shape, options)),
      'T5 block': cost(t5BlockGraph(t5, 512, options)),
    }).toMatchInlineSnapshot(`
      {
        "T5 block": {
          "dispatches": 19,
          "kilobytes": 4,
          "mebibytes": 116,
        },
        "double": {
          "dispatches": 43,
          "kilobytes": 9,
          "mebibytes": 298,
        },
        "double, modulation given": {
          "dispatches": 39,
          "kilobytes": 8,
          "mebibytes": 298,
        },
        "embedders": {
          "dispatches": 14,
          "kilobytes": 5,
          "mebibytes": 32,
        },
        "output": {
          "dispatches": 8,
          "kilobytes": 1,
          "mebibytes": 123,
        },
        "single": {
          "dispatches": 20,
          "kilobytes": 4,
          "mebibytes": 352,
        },
        "single, modulation given": {
          "dispatches": 18,
          "kilobytes": 4,
          "mebibytes": 352,
        },
      }
    `);
  });

  it('takes modulations and residuals into the norms, and turns queries and keys once', () => {
    const operators = fluxDoubleBlockGraph(flux, shape, options).nodes.map(({ opType }) => opType);
    const count = (name: string): number => operators.filter((op) => op === name).length;
    expect(count('LayerNormalization') + count('SkipLayerNormalization')).toBe(4);
    expect(count('SkipLayerNormalization')).toBe(2);
    expect(count('RotaryEmbedding')).toBe(2);
    expect(count('Transpose')).toBe(0);
  });

  it('keeps chosen matrices in 4 bits, and nothing else', () => {
    const packing = (weight: string): { bits: 4; block: 32; zeros: boolean } | undefined =>
      /^(attn|ff|ff_context)\./.test(weight) ? { bits: 4, block: 32, zeros: true } : undefined;
    const graph = fluxDoubleBlockGraph(flux, shape, { ...options, modulation: 'given', packing });
    const operators = graph.nodes.map(({ opType }) => opType);
    expect(operators.filter((op) => op === 'Gemm')).toEqual([]);
    expect(operators.filter((op) => op === 'MatMulNBits')).toHaveLength(12);
    const q = graph.weights.filter(({ tensors }) => tensors.includes('attn.to_q.weight'));
    expect(q.map(({ name, value }) => [name, value.dtype, value.shape.join('x')])).toEqual([
      ['attn.to_q.weight:codes', 'uint8', '3072x96x16'],
      ['attn.to_q.weight:scales', 'float16', '294912'],
      ['attn.to_q.weight:zeros', 'uint8', '147456'],
    ]);
  });
});

describe('tables made for transformers', () => {
  let tables: ReadonlyMap<string, Float64Array>;
  beforeAll(async () => {
    tables = await readTensors(nodeFolder(GOLDEN), 'unit/tables/tensors.safetensors');
  });

  it('rotary tables of FLUX are those of diffusers', () => {
    const flat = [...(tables.get('positions') ?? [])];
    const positions = range(flat.length / 3).map((i) => flat.slice(3 * i, 3 * i + 3));
    const { cos, sin } = rotaryAngles(positions, flux.ropeAxes);
    // The golden has a column for each channel, of each pair twice the same.
    for (const [name, got] of [
      ['flux_cos', cos],
      ['flux_sin', sin],
    ] as const) {
      const expected = [...(tables.get(name) ?? [])].filter((_, i) => i % 2 === 0);
      expect(got).toHaveLength(expected.length);
      expect(Math.max(...expected.map((x, i) => Math.abs(x - (got[i] ?? NaN))))).toBeLessThan(1e-7);
    }
  });

  it('rotary tables of other axes are those of HiDream, as rotations', () => {
    const flat = [...(tables.get('positions') ?? [])];
    const positions = range(flat.length / 3).map((i) => flat.slice(3 * i, 3 * i + 3));
    const { cos, sin } = rotaryAngles(positions, [64, 32, 32]);
    const matrices = tables.get('hidream_matrix') ?? [];
    expect(matrices.length).toBe(4 * cos.length);
    // Their frequencies are float32, and positions go up to 63.
    cos.forEach((value, i) => {
      expect(Math.abs(value - (matrices[4 * i] ?? NaN))).toBeLessThan(1e-5);
      expect(Math.abs((sin[i] ?? NaN) - (matrices[4 * i + 2] ?? NaN))).toBeLessThan(1e-5);
    });
  });

  it('sinusoids are those of diffusers, to the rounding of one float32 frequency', () => {
    const times = [...(tables.get('times') ?? [])];
    const expected = tables.get('sinusoid') ?? [];
    times.forEach((time, row) => {
      const got = sinusoid(time, 256);
      const worst = Math.max(...got.map((x, i) => Math.abs(x - (expected[256 * row + i] ?? NaN))));
      expect(worst, `t = ${time}`).toBeLessThan(1e-7 + 4e-8 * time);
    });
  });

  it('latents are packed as by diffusers, and unpacked again', async () => {
    const golden = await readTensors(nodeFolder(GOLDEN), 'cases/flux-dev-default/tensors.safetensors');
    const size = fluxLatentSize({ height: 128, width: 135 });
    expect(size).toEqual({ channels: 16, height: 16, width: 16 });
    const noise = Float32Array.from(golden.get('noise') ?? []);
    const packed = packLatents(noise, size);
    expect(packed).toEqual(Float32Array.from(golden.get('latents.packed') ?? []));
    expect(unpackLatents(packed, size)).toEqual(noise);
    expect(() => packLatents(noise, { channels: 16, height: 15, width: 16 })).toThrow(/not 16×15×16 latents/);
    const ids = fluxPositions(3, tokenGrid(size));
    expect(ids.slice(0, 3)).toEqual([
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(ids.slice(3).flat()).toEqual([...(golden.get('ids.image') ?? [])]);
  });

  it('distances fall into the buckets of transformers', async () => {
    const golden = await readTensors(nodeFolder(GOLDEN), 'unit/t5-encoder-large-activations/tensors.safetensors');
    const distances = [...(golden.get('relative_positions') ?? [])];
    expect(distances.length).toBeGreaterThan(60);
    expect(distances.map((distance) => t5Bucket(t5, distance))).toEqual([...(golden.get('relative_buckets') ?? [])]);
    // From the largest distance on, the last bucket of each direction (Raffel et al. 2020, §2.1: 128, 32 buckets).
    expect([-128, -511, 128, 511].map((distance) => t5Bucket(t5, distance))).toEqual([15, 15, 31, 31]);
  });
});
