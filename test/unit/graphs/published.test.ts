/** @file The weight lists of our graphs at real size against the published checkpoints' (names, shapes, parameter count). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { elementCount } from '../../../src/base/dtype.js';
import { vaeDecoderGraph, vaeEncoderGraph } from '../../../src/graphs/autoencoder-kl.js';
import { tinyDecoderGraph } from '../../../src/graphs/autoencoder-tiny.js';
import { clipTextGraph } from '../../../src/graphs/clip-text.js';
import { controlNetGraph, controlNetHintGraph } from '../../../src/graphs/controlnet.js';
import { unetGraph } from '../../../src/graphs/unet.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseAutoencoderTinyConfig } from '../../../src/models/configs/autoencoder-tiny.js';
import { parseClipTextConfig } from '../../../src/models/configs/clip-text.js';
import { parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
import { wasmDialect } from '../../../src/onnx/dialects/wasm.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { encodeModel } from '../../../src/onnx/encode.js';
import type { Graph } from '../../../src/onnx/types.js';

interface Published {
  readonly config: unknown;
  readonly parameters: number;
  readonly tensors: Readonly<Record<string, readonly number[]>>;
}

function published(name: string): Published {
  return JSON.parse(
    readFileSync(join(import.meta.dirname, `../../golden/published/${name}.json`), 'utf8'),
  ) as Published;
}

/** Every tensor that the graphs read, by name, with trailing ones dropped (a 1×1 kernel is a matrix). */
function weightsOf(...graphs: readonly Graph[]): Map<string, string> {
  const out = new Map<string, string>();
  for (const { tensors, value } of graphs.flatMap((graph) => graph.weights)) {
    for (const name of tensors) out.set(name, squeeze(value.shape));
  }
  return out;
}

function squeeze(shape: readonly number[]): string {
  return shape.join('x').replace(/(x1)+$/, '');
}

const DIALECTS = [webgpuDialect, wasmDialect];

describe.each(DIALECTS.map((dialect) => [dialect.name, dialect] as const))(
  'graphs at real size, %s dialect',
  (_, dialect) => {
    const options = { dialect, dtype: 'float32' } as const;

    it.each(['sd15-unet', 'sd21-unet', 'sdxl-unet', 'sdxl-refiner-unet', 'sd15-lcm-unet'])(
      '%s reads exactly the published weights',
      (name) => {
        const { config, tensors, parameters } = published(name);
        const graph = unetGraph(parseUNetConfig(config), { batch: 2, height: 64, width: 64, textTokens: 77 }, options);
        const expected = new Map(Object.entries(tensors).map(([key, shape]) => [key, squeeze(shape)]));
        expect(weightsOf(graph)).toEqual(expected);
        expect(Object.values(tensors).reduce((sum, shape) => sum + elementCount(shape), 0)).toBe(parameters);
      },
    );

    it.each(['sd15-controlnet', 'sdxl-controlnet'])(
      '%s, with the embedding of its guide, reads exactly the published weights',
      (name) => {
        const { config, tensors, parameters } = published(name);
        const parsed = parseControlNetConfig(config);
        const shape = { batch: 2, height: 64, width: 64, textTokens: 77 };
        const graphs = [controlNetHintGraph(parsed, shape, options), controlNetGraph(parsed, shape, options)];
        const expected = new Map(Object.entries(tensors).map(([key, shape]) => [key, squeeze(shape)]));
        expect(weightsOf(...graphs)).toEqual(expected);
        expect(Object.values(tensors).reduce((sum, shape) => sum + elementCount(shape), 0)).toBe(parameters);
      },
    );

    it('the autoencoder, decoder and encoder together, reads exactly the published weights', () => {
      const { config, tensors } = published('sd-vae');
      const parsed = parseAutoencoderKLConfig(config);
      const decoder = vaeDecoderGraph(parsed, { batch: 1, height: 64, width: 64 }, options);
      const encoder = vaeEncoderGraph(parsed, { batch: 1, height: 512, width: 512 }, options);
      expect(weightsOf(decoder, encoder)).toEqual(
        new Map(Object.entries(tensors).map(([key, shape]) => [key, squeeze(shape)])),
      );
    });

    it.each(['clip-l', 'clip-h', 'clip-g'])('%s reads the published weights, but for the token table', (name) => {
      const { config, tensors } = published(name);
      const graph = clipTextGraph(
        parseClipTextConfig(config),
        { tokens: 77, hidden: [{ skip: 0, norm: true }], projected: name === 'clip-g', masked: false },
        options,
      );
      const named = Object.entries(tensors).map(
        ([key, shape]) =>
          [/^(text_model|text_projection)\./.test(key) ? key : `text_model.${key}`, squeeze(shape)] as const,
      );
      const unread = named.filter(([key]) => !weightsOf(graph).has(key)).map(([key]) => key);
      const expected =
        name === 'clip-g' ? /token_embedding|position_ids/ : /token_embedding|position_ids|text_projection/;
      expect(unread.filter((key) => !expected.test(key))).toEqual([]);
      expect([...weightsOf(graph)].filter(([key, shape]) => new Map(named).get(key) !== shape)).toEqual([]);
    });

    it('the tiny decoder reads exactly the published weights', () => {
      const { config, tensors } = published('taesd');
      const graph = tinyDecoderGraph(parseAutoencoderTinyConfig(config), { batch: 1, height: 64, width: 64 }, options);
      const decoder = Object.entries(tensors).filter(([key]) => key.startsWith('decoder.'));
      expect(weightsOf(graph)).toEqual(new Map(decoder.map(([key, shape]) => [key, squeeze(shape)])));
    });

    it('the SDXL UNet verifies at 1024², 2048² and 128×2048', () => {
      const config = parseUNetConfig(published('sdxl-unet').config);
      for (const [height, width] of [
        [128, 128],
        [256, 256],
        [16, 256],
      ] as const) {
        const [output] = unetGraph(config, { batch: 2, height, width, textTokens: 77 }, options).outputs;
        expect(elementCount(output?.value.shape ?? [])).toBe(2 * 4 * height * width);
      }
    });

    it.each([
      [64, 64],
      [96, 96],
      [128, 128],
      [256, 256],
      [16, 256],
      [24, 40],
    ])('the SD 1.5 UNet and decoder verify at latents of %i×%i, one and two branches', (height, width) => {
      const unet = parseUNetConfig(published('sd15-unet').config);
      const vae = parseAutoencoderKLConfig(published('sd-vae').config);
      for (const batch of [1, 2]) {
        const [output] = unetGraph(unet, { batch, height, width, textTokens: 154 }, options).outputs;
        expect([...(output?.value.shape ?? [])].sort()).toEqual([batch, 4, height, width].sort());
      }
      const [picture] = vaeDecoderGraph(vae, { batch: 1, height, width }, options).outputs;
      expect(elementCount(picture?.value.shape ?? [])).toBe(3 * 64 * height * width);
    });

    it('is small and the same every time', () => {
      const config = parseUNetConfig(published('sd15-unet').config);
      const make = (): Uint8Array =>
        encodeModel(
          unetGraph(config, { batch: 2, height: 64, width: 64, textTokens: 77 }, options),
          () => 'initializer',
        ).bytes;
      const bytes = make();
      expect(bytes.length).toBeLessThan(1_000_000);
      expect(make()).toEqual(bytes);
    });
  },
);
