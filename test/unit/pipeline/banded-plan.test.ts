/** @file When a picture is decoded in bands and in which: against the limits of devices, and published decoders at real sizes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decoderStages } from '../../../src/graphs/banded-decoder.js';
import { vaeDecoderGraph } from '../../../src/graphs/autoencoder-kl.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseAutoencoderTinyConfig } from '../../../src/models/configs/autoencoder-tiny.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { valueBytes } from '../../../src/onnx/liveness.js';
import { bandedGraphs } from '../../../src/pipeline/banded-decoder.js';
import { cut, isCut, planBands, type Tiles } from '../../../src/pipeline/banded-plan.js';
import { planWindows, reachOf } from '../../../src/pipeline/banded-tiny.js';
import type { RuntimeInfo } from '../../../src/runtime/runtime.js';

const published: unknown = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../golden/published/sdxl-vae.json'), 'utf8'),
);
const config = parseAutoencoderKLConfig(Reflect.get(Object(published) as object, 'config'));
const options = { dialect: webgpuDialect, dtype: 'float32' } as const;

const device = (maxStorageBufferBindingSize: number, maxBufferSize = 2 ** 40): RuntimeInfo => ({
  backend: 'webgpu',
  why: '',
  build: 'jspi',
  dtype: 'float32',
  limits: { maxBufferSize, maxStorageBufferBindingSize },
  withheld: [],
});
const CPU: RuntimeInfo = { backend: 'wasm', why: '', build: 'wasm', dtype: 'float32', withheld: [] };

const isCutAt = (side: number, tiles: Tiles, info: RuntimeInfo): boolean =>
  isCut(tiles, {
    graph: () => vaeDecoderGraph(config, { batch: 1, height: side / 8, width: side / 8 }, options),
    info,
  });

describe('bands', () => {
  it('are taken where a convolution would read more than the device binds, 4·256·side² bytes', () => {
    const needed = (side: number): number => 4 * 256 * side ** 2;
    for (const side of [512, 1024, 2048]) {
      expect(isCutAt(side, 'auto', device(needed(side)))).toBe(false);
      expect(isCutAt(side, 'auto', device(needed(side) - 1))).toBe(true);
      expect(isCutAt(side, 'auto', device(2 ** 40, needed(side) - 1))).toBe(true);
      expect(isCutAt(side, 'never', device(1))).toBe(false);
      expect(isCutAt(side, 'always', device(2 ** 40))).toBe(true);
    }
  });

  it('are taken on the CPU where the heap of 4 GiB would not do', () => {
    expect(isCutAt(1024, 'auto', CPU)).toBe(false);
    expect(isCutAt(2048, 'auto', CPU)).toBe(true);
  });

  it('keep every tensor of a 2048² picture below what even WebGPU’s default limit of 128 MiB binds', () => {
    const plan = planBands(config, { height: 256, width: 256 });
    if (plan === undefined) throw new TypeError('no bands');
    const graphs = bandedGraphs({ config, width: 256, plan }, webgpuDialect);
    const sizes = graphs.flatMap(({ nodes }) =>
      nodes.flatMap(({ opType, inputs: [x] }) => (opType === 'Conv' && x !== undefined ? [valueBytes(x)] : [])),
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2 ** 27);
    expect(plan.heights.reduce((a, b) => a + b)).toBe(256);
  });

  it('are cut as evenly as can be, of the height that is asked for at most', () => {
    for (const [height, rows] of [
      [16, 1],
      [16, 5],
      [24, 7],
      [97, 10],
    ] as const) {
      const heights = cut(height, Math.ceil(height / rows));
      expect(heights.reduce((a, b) => a + b)).toBe(height);
      expect(Math.max(...heights)).toBeLessThanOrEqual(rows);
      expect(Math.max(...heights) - Math.min(...heights)).toBeLessThanOrEqual(1);
    }
  });

  it('are of one height where that takes not many more of them', () => {
    const heightsOf = (height: number, most: number) => planBands(config, { height, width: 64 }, most)?.heights;
    expect(heightsOf(192, 5)).toEqual(Array(48).fill(4));
    expect(heightsOf(128, 200)).toEqual([128]);
    expect(heightsOf(97, 50)).toEqual([49, 48]);
  });

  it('need each weight of the decoder in some graph, and none besides', () => {
    const whole = vaeDecoderGraph(config, { batch: 1, height: 128, width: 128 }, options);
    const named = (graphs: readonly (typeof whole)[]): readonly string[] => [
      ...new Set(graphs.flatMap(({ weights }) => weights.map(({ name }) => name))),
    ];
    for (const wholeBlocks of [1, 2, 3]) {
      const shape = { config, width: 128, plan: { heights: [64, 64], wholeBlocks } };
      expect([...named(bandedGraphs(shape, webgpuDialect))].sort()).toEqual([...named([whole])].sort());
      // Per level an upsampling and three blocks of two convolutions; the last one makes the picture.
      expect(decoderStages(config, wholeBlocks)).toHaveLength((4 - wholeBlocks) * 7 + 1);
    }
  });
});

describe('windows of an AutoencoderTiny', () => {
  const tiny = parseAutoencoderTinyConfig({ _class_name: 'AutoencoderTiny' });
  const windows = planWindows(tiny, { height: 256, width: 256 }, 40);

  it('reach as far as TAESD’s 33 convolutions do: 19 rows of latents', () => {
    // At 8, 4, 2 and 1 pixels a row: 10, 10, 10 and 5 convolutions, of which each step down halves the reach.
    expect(reachOf(tiny)).toBe(10 + Math.ceil((10 + Math.ceil((10 + Math.ceil(5 / 2)) / 2)) / 2));
  });

  it('cover the picture, and read no row outside of it', () => {
    expect(windows.map(({ from, to }) => to - from).reduce((a, b) => a + b)).toBe(256);
    expect(windows[0]).toMatchObject({ from: 0, start: 0 });
    expect(windows.at(-1)).toMatchObject({ to: 256, end: 256 });
    for (const [i, { from, to, start, end }] of windows.entries()) {
      expect(from).toBe(windows[i - 1]?.to ?? 0);
      expect([start, end]).toEqual([Math.max(0, from - 19), Math.min(256, to + 19)]);
    }
  });
});
