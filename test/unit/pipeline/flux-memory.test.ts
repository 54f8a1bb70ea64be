/** @file What of a FLUX.1 model stays on the device, at the published sizes; and what the prediction of a request counts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../../../src/models/configs/clip-text.js';
import { parseFluxTransformerConfig } from '../../../src/models/configs/flux-transformer.js';
import { parseT5Config } from '../../../src/models/configs/t5.js';
import { elementCount } from '../../../src/base/dtype.js';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { ChangedWeights } from '../../../src/assets/weight-change.js';
import { viewWeights, type WeightFile } from '../../../src/assets/weights.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { fluxWeights, onceGraphs, stepGraphs } from '../../../src/pipeline/flux/graphs.js';
import {
  availableBytes,
  chooseResidents,
  planFluxMemory,
  stepBlocks,
  type FluxMemory,
  type FluxSizes,
  type Residents,
} from '../../../src/pipeline/flux/memory.js';
import { fluxNetworks } from '../../../src/pipeline/flux/networks.js';
import { fluxSizes } from '../../../src/pipeline/flux/sizes.js';
import { predictStep } from '../../../src/pipeline/flux/step-time.js';
import { predictMemory } from '../../../src/pipeline/memory-plan.js';
import type { Plan } from '../../../src/pipeline/plan.js';

interface Published {
  readonly config: unknown;
  readonly parameters: number;
  readonly tensors: Readonly<Record<string, readonly number[]>>;
}
const published = (name: string): Published =>
  JSON.parse(readFileSync(join(import.meta.dirname, `../../golden/published/${name}.json`), 'utf8')) as Published;
const [FLUX, T5, CLIP, VAE] = ['flux-dev', 't5-xxl-encoder', 'clip-l', 'flux-vae'].map(published) as [
  Published,
  Published,
  Published,
  Published,
];

/** A header without bytes; matrices in `type`. */
function header({ tensors }: Published, type: 'F16' | 'Q4_0'): WeightFile {
  const source = memorySource('none', new Uint8Array());
  const entries = Object.entries(tensors).map(([name, shape]) => {
    const dtype = shape.length === 2 ? type : 'F16';
    return [name, { dtype, shape, start: 0, end: 0, source }] as const;
  });
  return viewWeights('header', new Map(entries), UNET_LAYOUT);
}

/** Of a model, what is looked at here. */
function model(type: 'F16' | 'Q4_0') {
  return {
    transformer: { config: parseFluxTransformerConfig(FLUX.config), file: header(FLUX, type) },
    t5: { config: parseT5Config(T5.config), file: header(T5, type), tokenizer: { length: 512 } },
    clip: { config: parseClipTextConfig(CLIP.config), file: header(CLIP, 'F16'), tokenizer: { length: 77 } },
    vae: { config: parseAutoencoderKLConfig(VAE.config), file: header(VAE, 'F16') },
  } as unknown as Parameters<typeof fluxNetworks>[0];
}

const options = { dialect: webgpuDialect, dtype: 'float16' } as const;
const shape = { textTokens: 512, imageTokens: 4096 };
const latent = { channels: 16, height: 128, width: 128 };

/** A LoRA of rank 16 on all linear layers of the transformer's blocks. */
const LORA: ChangedWeights = new Map(
  Object.entries(FLUX.tensors)
    .filter(([name, shape]) => shape.length === 2 && name.includes('transformer_blocks.'))
    .map(([tensor]) => [
      tensor,
      [{ tensor, scale: 1, rescales: false, rank: 16, read: () => Promise.reject(new Error()) }],
    ]),
);

function sizesOf(type: 'F16' | 'Q4_0', changed: ChangedWeights = new Map()): FluxSizes {
  const given = model(type);
  const weights = fluxWeights({ ...given, weightBits: undefined }, new Map([['transformer', changed]]));
  const graphs = { ...stepGraphs(weights, shape, options), ...onceGraphs(weights, shape, 28, options) };
  return fluxSizes(given, graphs, { tokens: 512, latent }, weights.changed, options);
}

const halves = sizesOf('F16');
const fourBits = sizesOf('Q4_0');

/** Bytes on the device while the transformer runs. */
const heldBy = (sizes: FluxSizes, { double, single, modulation }: FluxMemory): number =>
  sizes.ends +
  sizes.runs +
  (modulation ? sizes.modulation : 0) +
  sizes.doubleBlock * (double + Math.min(2, sizes.doubleBlocks - double)) +
  sizes.singleBlock * (single + Math.min(2, sizes.singleBlocks - single));

/** A choice among all that there are, told apart by the bytes that it brings and, where rates are known, by its seconds. */
function everyChoice(sizes: FluxSizes, room: number): readonly Residents[] {
  const counts = (count: number): readonly number[] =>
    Array.from({ length: count + 1 }, (_, i) => i).filter((i) => i === count || count - i > 2);
  return counts(sizes.doubleBlocks)
    .flatMap((double) => counts(sizes.singleBlocks).map((single) => ({ double, single })))
    .filter((choice) => heldBy({ ...sizes, ends: 0, runs: 0 }, { ...NOTHING, ...choice }) <= room);
}
const NOTHING: FluxMemory = { t5: 0, double: 0, single: 0, modulation: false, together: false };
const broughtBy = (sizes: FluxSizes, { double, single }: Residents): number =>
  (sizes.doubleBlocks - double) * sizes.doubleBrought + (sizes.singleBlocks - single) * sizes.singleBrought;

describe('sizes of FLUX.1-dev', () => {
  it('are those of the published parameters in float16', () => {
    const { doubleBlock, doubleBlocks, singleBlock, singleBlocks, modulation, ends } = halves;
    const all = doubleBlock * doubleBlocks + singleBlock * singleBlocks + modulation + ends;
    // The last layer is in float32.
    const last = Object.entries(FLUX.tensors).filter(([name]) => /^(norm|proj)_out\./.test(name));
    expect(last).toHaveLength(4);
    expect(all).toBe(2 * FLUX.parameters + 2 * last.reduce((sum, [, size]) => sum + elementCount(size), 0));
    expect([doubleBlocks, singleBlocks]).toEqual([19, 38]);
  });

  it('are 4.5 bits a value in Q4_0, of all but vectors', () => {
    const { doubleBlock, doubleBlocks, singleBlock, singleBlocks, modulation, ends } = fourBits;
    const all = doubleBlock * doubleBlocks + singleBlock * singleBlocks + modulation + ends;
    // A scale in float16 for each 32 values.
    expect((8 * all) / FLUX.parameters).toBeGreaterThan(4.5);
    expect((8 * all) / FLUX.parameters).toBeLessThan(4.51);
  });
});

describe('T5 of few bits', () => {
  const t5Block = (bits: 4 | 8 | 16 | undefined): number => {
    const given = model('F16');
    const weights = fluxWeights({ ...given, weightBits: undefined }, new Map());
    const graphs = { ...stepGraphs(weights, shape, options), ...onceGraphs(weights, shape, 28, options) };
    const rounded = { ...given, t5: { ...given.t5, bits } };
    return fluxSizes(rounded, graphs, { tokens: 512, latent }, new Map(), options).t5Block;
  };
  const inBlock = Object.entries(T5.tensors).filter(([name]) => name.startsWith('encoder.block.1.'));
  const values = (which: (name: string, shape: readonly number[]) => boolean): number =>
    inBlock.reduce((sum, [name, size]) => sum + (which(name, size) ? elementCount(size) : 0), 0);

  it('is its codes, a scale in float16 for each 32, in float32 for those of the last product, and norms in float32', () => {
    const [all, last] = [values((_, { length }) => length === 2), values((name) => name.includes('.wo.'))];
    const norms = 4 * values((_, { length }) => length === 1);
    for (const bits of [4, 8] as const)
      expect(t5Block(bits)).toBe((all * bits) / 8 + (2 * (all - last)) / 32 + (4 * last) / 32 + norms);
    expect(t5Block(16)).toBe(t5Block(undefined));
  });
});

describe('a LoRA of rank 16 on all blocks', () => {
  const numbers = [...LORA.keys()].reduce(
    (sum, name) => sum + 16 * (FLUX.tensors[name] ?? []).reduce((a, b) => a + b),
    0,
  );

  it('is added beside matrices of four bits, for all blocks at any time: two bytes for each number of its factors', () => {
    const sizes = sizesOf('Q4_0', LORA);
    const total = ({ modulation, ends }: FluxSizes): number => modulation + ends;
    expect(total(sizes) - total(fourBits)).toBe(2 * numbers);
    expect(sizes).toEqual({
      ...fourBits,
      modulation: sizes.modulation,
      ends: sizes.ends,
      runs: sizes.runs,
      doubleFlops: sizes.doubleFlops,
      singleFlops: sizes.singleFlops,
    });
    // An eighth of the matrices themselves.
    expect(2 * numbers).toBeLessThan(fourBits.doubleBlock * 19 + fourBits.singleBlock * 38 + fourBits.modulation);
  });

  it('makes matrices of float16 be there twice, as they are in the file and as they are changed', () => {
    const { doubleBlock, singleBlock } = sizesOf('F16', LORA);
    expect(doubleBlock / halves.doubleBlock).toBeGreaterThan(1.99);
    expect(singleBlock / halves.singleBlock).toBeGreaterThan(1.99);
  });
});

describe('what stays on the device', () => {
  it('is everything where there is room', () => {
    const all = { t5: 24, double: 19, single: 38, modulation: true, together: true };
    expect(planFluxMemory(halves, 40e9, false)).toEqual(all);
    expect(planFluxMemory(fourBits, 16e9, false)).toEqual(all);
  });

  it('of a four-bit model is the whole transformer in 12 GB, when T5 is gone, and in 10 GB all of it but what makes the modulation', () => {
    const whole = { t5: 0, double: 19, single: 38, modulation: true, together: false };
    expect(planFluxMemory(fourBits, 12e9, false)).toEqual(whole);
    expect(planFluxMemory(fourBits, 10e9, false)).toEqual({ ...whole, modulation: false });
    // Nothing else is there when networks take turns.
    expect(planFluxMemory(fourBits, 10e9, true)).toEqual(whole);
  });

  it.each([4e9, 6e9, 8e9, 12e9, 20e9])('is as much of a float16 model as %d bytes hold, and no more', (available) => {
    for (const frugal of [false, true]) {
      const memory = planFluxMemory(halves, available, frugal);
      expect(memory).toMatchObject({ t5: 0, together: false });
      expect(heldBy(halves, memory)).toBeLessThanOrEqual(available);
      const more = { ...memory, single: memory.single + 1 };
      if (memory.single < 35)
        expect(heldBy(halves, more)).toBeGreaterThan(available - (frugal ? 0 : halves.vae + halves.decoding));
    }
  });

  it('is nothing where there is room for nothing', () => {
    expect(planFluxMemory(halves, 0, true)).toEqual({
      t5: 0,
      double: 0,
      single: 0,
      modulation: false,
      together: false,
    });
  });
});

describe('which blocks stay', () => {
  const rooms = [2e9, 3.5e9, 5e9, 7e9, 9e9, 12e9, 15e9, 17e9];
  /** Of a step at 20 TFLOP/s. */
  const computing = (19 * halves.doubleFlops + 38 * halves.singleFlops) / 20e12;
  const all = 19 * halves.doubleBrought + 38 * halves.singleBrought;

  it('are as many bytes as there is room for, before anything is measured', () => {
    const unknown = { bytesPerSecond: undefined, flopsPerSecond: undefined };
    for (const room of rooms) {
      const least = Math.min(...everyChoice(halves, room).map((choice) => broughtBy(halves, choice)));
      expect(broughtBy(halves, chooseResidents(halves, room, unknown))).toBe(least);
    }
  });

  it('are then those that make the fastest step, but for a twentieth', () => {
    for (const room of rooms)
      for (const bandwidth of [0.3, 0.7, 1, 1.5].map((times) => (times * all) / computing)) {
        const rates = { bytesPerSecond: bandwidth, flopsPerSecond: 20e12 };
        const seconds = (choice: Residents): number => predictStep(stepBlocks(halves, choice), rates)?.seconds ?? NaN;
        const fastest = Math.min(...everyChoice(halves, room).map(seconds));
        expect(seconds(chooseResidents(halves, room, rates))).toBeLessThanOrEqual(fastest / 0.95 + 1e-9);
      }
  });

  it('leave less than a fifth to wait for wherever what is brought would come within the arithmetic', () => {
    let checked = 0;
    for (let room = 1.5e9; room < 18e9; room += 0.25e9)
      for (const times of [0.2, 0.4, 0.6, 0.8, 0.9, 1, 1.1, 1.3, 2]) {
        const rates = { bytesPerSecond: (times * all) / computing, flopsPerSecond: 20e12 };
        const choice = chooseResidents(halves, room, rates);
        if (broughtBy(halves, choice) > rates.bytesPerSecond * computing) continue;
        checked++;
        const { seconds = NaN } = predictStep(stepBlocks(halves, choice), rates) ?? {};
        expect(seconds / computing).toBeLessThanOrEqual(1.2);
      }
    expect(checked).toBeGreaterThan(100);
  });

  it('are of a device of which nothing is known no more than four of its largest buffers, or 10 GB', () => {
    const limits = (maxBufferSize: number) => ({ maxBufferSize, maxStorageBufferBindingSize: maxBufferSize });
    expect(availableBytes(undefined, limits(2 ** 32), false)).toBe(10e9);
    expect(availableBytes(undefined, limits(2 ** 30), false)).toBe(2 ** 32);
    expect(availableBytes(undefined, limits(2 ** 30), true)).toBe(2 ** 31);
    expect(availableBytes(undefined, undefined, false)).toBe(10e9);
    expect(availableBytes(8e9, limits(2 ** 28), false)).toBe(7.2e9);
  });
});

describe('the prediction', () => {
  const plan = {
    latent,
    flux: { textTokens: 512, trueCFGScale: undefined },
    steps: 28,
  } as unknown as Plan;
  const predict = (frugal: boolean, available = frugal ? 0 : Infinity) =>
    predictMemory(
      fluxNetworks(model('F16'), plan, options, new Map(), planFluxMemory(halves, available, frugal), frugal),
      frugal ? 'frugal' : 'resident',
      'parts',
    );

  it('counts the published parameters of transformer and T5 once, but tables that are looked up', () => {
    const { networks } = predict(false);
    const of = (name: RegExp): number =>
      networks.filter((network) => name.test(network.name)).reduce((sum, { weights }) => sum + weights, 0);
    const near = (bytes: number, parameters: number): number => Math.abs(bytes / (2 * parameters) - 1);
    expect(near(of(/transformer/), FLUX.parameters)).toBeLessThan(2e-3);
    // T5's last products are in float32: wo, a third of the feed-forward layers.
    const tables = 32_128 * 4096;
    expect(of(/T5/) / (2 * (T5.parameters - tables))).toBeGreaterThan(1);
    expect(of(/T5/) / (2 * (T5.parameters - tables))).toBeLessThan(1.3);
  });

  it.each([4e9, 8e9, 14e9])('of what is planned for %d bytes is about that', (available) => {
    const { peak, peakIn } = predict(true, available);
    expect(peakIn).toBe('the transformer');
    expect(peak / available).toBeGreaterThan(0.85);
    expect(peak / available).toBeLessThan(1.01);
  });

  it('of blocks in turn needs a few of them', () => {
    expect(predict(true).peak).toBeLessThan(predict(false).peak / 3);
  });
});
