/** @file The memory plan: weights against published parameter counts, runs against traced ones, and the judgement in words. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../../scripts/lib/folder-tree.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../../../src/models/configs/clip-text.js';
import { parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { judgeFit, type Size, type Ways } from '../../../src/pipeline/fit.js';
import { predictMemory, type MemoryPlan } from '../../../src/pipeline/memory-plan.js';
import { networksOf, type Network, type NetworkOptions, type SizedModels } from '../../../src/pipeline/networks.js';
import { createEngine } from '../../../src/pipeline/engine.js';
import type { Ort } from '../../../src/runtime/ort.js';
import { writeMicroModel } from '../../micro-model.js';

interface Published {
  readonly config: unknown;
  readonly parameters: number;
}

const published = (name: string): Published =>
  JSON.parse(readFileSync(join(import.meta.dirname, `../../golden/published/${name}.json`), 'utf8')) as Published;

const encoder = (name: string, slot: 1 | 2) => ({ config: parseClipTextConfig(published(name).config), slot });
const SDXL: SizedModels = {
  base: {
    architecture: 'sdxl',
    encoders: [encoder('clip-l', 1), encoder('clip-g', 2)],
    unet: { config: parseUNetConfig(published('sdxl-unet').config) },
  },
  refiner: {
    architecture: 'sdxl-refiner',
    encoders: [encoder('clip-g', 2)],
    unet: { config: parseUNetConfig(published('sdxl-refiner-unet').config) },
  },
  vae: { config: parseAutoencoderKLConfig(published('sdxl-vae').config) },
};

const networks = (models: SizedModels, side: number, options: Partial<NetworkOptions> = {}): readonly Network[] =>
  networksOf(
    models,
    { latent: { channels: 4, height: side / 8, width: side / 8 }, guidance: 'batch', clipSkip: 0 },
    { dialect: webgpuDialect, dtype: 'float32', textTokens: 77, ...options },
  );

const predictions = (models: SizedModels, side: number) => {
  const made = networks(models, side);
  return { resident: predictMemory(made, 'resident'), frugal: predictMemory(made, 'frugal') };
};

describe('weights on the device', () => {
  it.each([
    ['float32', 4],
    ['float16', 2],
  ] as const)('are the published parameters in %s', (dtype, bytes) => {
    const plan = predictMemory(networks(SDXL, 512, { dtype }), 'resident');
    const weightsOf = (name: string): number => plan.networks.find((n) => n.name === name)?.weights ?? NaN;
    // Shortcut biases are folded into others, and buffers are multiples of 16: a few KB.
    expect(weightsOf('the UNet') / (published('sdxl-unet').parameters * bytes)).toBeCloseTo(1, 3);
    expect(weightsOf("the refiner's UNet") / (published('sdxl-refiner-unet').parameters * bytes)).toBeCloseTo(1, 3);
    // CLIP's table of 49,408 tokens × 1280 stays off the GPU.
    const clipG = (published('clip-g').parameters - 49408 * 1280) * bytes;
    expect(weightsOf('the text encoder 2') / clipG).toBeCloseTo(1, 3);
  });

  it('of the decoder are in float32 whatever the UNet computes in', () => {
    const decoder = (dtype: 'float16' | 'float32'): number | undefined =>
      predictMemory(networks(SDXL, 512, { dtype }), 'resident').networks.find((n) => n.kind === 'vae')?.weights;
    expect(decoder('float16')).toBe(decoder('float32'));
  });
});

describe('add-ons', () => {
  const controlled: SizedModels = {
    ...SDXL,
    controls: [{ config: parseControlNetConfig(published('sdxl-controlnet').config) }],
  };

  it('hold the published parameters of a ControlNet, beside the UNet even in turn', () => {
    const made = networks(controlled, 512);
    const [resident, frugal] = [predictMemory(made, 'resident'), predictMemory(made, 'frugal')];
    const weightsOf = (plan: MemoryPlan, name: RegExp): number =>
      plan.networks.filter((n) => name.test(n.name)).reduce((sum, n) => sum + n.weights, 0);
    const all = published('sdxl-controlnet').parameters * 4;
    expect(weightsOf(resident, /ControlNet/) / all).toBeCloseTo(1, 3);
    expect(frugal.weights / (all + published('sdxl-unet').parameters * 4)).toBeCloseTo(1, 2);
  });

  it('hold what a LoRA changes twice, kernels too', () => {
    const base = predictMemory(networks(SDXL, 512), 'resident');
    const [linear, kernel] = ['mid_block.attentions.0.proj_in.weight', 'mid_block.resnets.0.conv1.weight'];
    const changed = new Map([['unet', new Set([linear, kernel])]] as const);
    const plan = predictMemory(networks({ ...SDXL, changed }, 512), 'resident');
    expect(plan.weights - base.weights).toBe((1280 * 1280 + 1280 * 1280 * 9) * 4);
  });
});

describe('runs', () => {
  it('grow the pool by what was traced for a tiny SD 1.5 at 128×128', () => {
    const read = (part: string): unknown =>
      JSON.parse(readFileSync(join(import.meta.dirname, `../../golden/models/sd15-tiny/${part}/config.json`), 'utf8'));
    const models: SizedModels = {
      base: {
        architecture: 'sd',
        encoders: [{ config: parseClipTextConfig(read('text_encoder')), slot: 1 }],
        unet: { config: parseUNetConfig(read('unet')) },
      },
      refiner: undefined,
      vae: { config: parseAutoencoderKLConfig(read('vae')) },
    };
    const plan = predictMemory(networks(models, 128), 'resident');
    // Storage buffers created during each stage; Chromium, software adapter, float32, both branches in one batch.
    expect(plan.networks.map(({ pooled }) => pooled)).toEqual([187264, 1905920, 6488224]);
    // The ledger's peak counted 6,800 bytes more: uniforms and the runtime's own session.
    expect(10985888 - plan.peak).toBe(6800);
  });

  it('read at most 2048² × 256 channels in float32 by one convolution of the decoder at 2048²', () => {
    const sizes = predictMemory(networks(SDXL, 2048), 'resident').networks.map((n) => n.largestConvInput);
    expect(Math.max(...sizes)).toBe(2048 * 2048 * 256 * 4);
  });
});

describe('a decoder in bands', () => {
  const made = networks({ ...SDXL, refiner: undefined }, 1024, { dtype: 'float16' });
  const decoderOf = ({ networks: all }: MemoryPlan) => all.find(({ kind }) => kind === 'vae');
  const [whole, parts] = [predictMemory(made, 'resident'), predictMemory(made, 'resident', 'parts')];

  it('holds its published parameters once, and reads by no convolution more than WebGPU binds by default', () => {
    expect(decoderOf(parts)?.weights).toBe(decoderOf(whole)?.weights);
    expect(decoderOf(whole)?.largestConvInput).toBe(1024 * 1024 * 256 * 4);
    expect(decoderOf(parts)?.largestConvInput).toBeLessThanOrEqual(2 ** 27);
    expect(decoderOf(parts)?.largestBuffer).toBeLessThanOrEqual(2 ** 27);
  });

  it('lets SDXL make 1024² in 8 GB, where the whole decoder does not', () => {
    const inTurn = [predictMemory(made, 'frugal'), predictMemory(made, 'frugal', 'parts')];
    // Three tensors of 256 channels at the picture's size stay in the pool beside others; then the UNet's parameters in float16 are the most.
    expect(inTurn[0]?.peak).toBeGreaterThan(8e9);
    expect(inTurn[1]?.peakIn).toBe('the UNet');
    expect(inTurn[1]?.peak).toBeGreaterThan(published('sdxl-unet').parameters * 2);
    expect(inTurn[1]?.peak).toBeLessThan(8e9);
    expect(whole.peak - parts.peak).toBeGreaterThan(4e9);
  });
});

describe('loading networks in turn', () => {
  it('holds at most the largest network, and peaks lower', () => {
    const { resident, frugal } = predictions(SDXL, 512);
    const weights = resident.networks.map((n) => n.weights);
    expect(resident.weights).toBe(weights.reduce((a, b) => a + b, 0));
    expect(frugal.weights).toBe(Math.max(...weights));
    expect(frugal.peak).toBeLessThan(resident.peak);
    expect(frugal.activations).toBe(resident.activations);
  });
});

describe('the judgement', () => {
  const plan = (peak: number, largest = 0): MemoryPlan => ({
    networks: [
      {
        name: 'the VAE decoder',
        kind: 'vae',
        weights: 1e9,
        activations: peak - 1e9,
        pooled: peak - 1e9,
        largestBuffer: largest,
        largestConvInput: largest,
      },
    ],
    weights: 1e9,
    activations: peak - 1e9,
    peak,
    peakIn: 'the VAE decoder',
  });
  /** Needs `perPixel` bytes for each pixel, half of it in turn. */
  const at = (size: Size): Ways => {
    const area = size.width * size.height;
    return [
      { frugal: false, bands: false, plan: plan(8000 * area, 2000 * area) },
      { frugal: false, bands: true, plan: plan(6000 * area, 2000 * area) },
      { frugal: true, bands: true, plan: plan(4000 * area, 2000 * area) },
    ];
  };
  const size = { width: 1024, height: 1024 };
  const limits = { maxBufferSize: 4e9, maxStorageBufferBindingSize: 4e9 };
  const judge = (room: Parameters<typeof judgeFit>[1]): ReturnType<typeof judgeFit> =>
    judgeFit(at(size), room, size, at);

  it('says what cannot be known where there is no budget', () => {
    const { fits, reason, available } = judge({ limits, available: undefined });
    expect({ fits, available }).toEqual({ fits: true, available: undefined });
    expect(reason).toBe(
      "It needs 8.39 GB at most (1.00 GB of weights, 7.39 GB for runs) and keeps within the device's limits; how much video memory is free, a page cannot know.",
    );
  });

  it('names a budget that is enough, or enough in bands, or in turn', () => {
    expect(judge({ limits, available: 9e9 })).toMatchObject({
      fits: true,
      reason: expect.stringContaining('9.00 GB are available') as string,
    });
    expect(judge({ limits, available: 7e9 })).toMatchObject({
      fits: true,
      reason: expect.stringMatching(/with the picture decoded in bands, .* 6.29 GB are enough/) as string,
    });
    expect(judge({ limits, available: 5e9 })).toMatchObject({
      fits: true,
      reason: expect.stringMatching(/with networks loaded in turn and .* bands, .* 4.19 GB are enough/) as string,
    });
  });

  it('says no with numbers and the largest size that would fit', () => {
    const { fits, reason, bytes } = judge({ limits, available: 2e9 });
    expect(fits).toBe(false);
    // 4000 · 640² = 1.64e9 fits into 2e9, 4000 · 768² = 2.36e9 does not.
    expect(reason).toBe(
      'It needs 8.39 GB at most, 4.19 GB with networks loaded in turn and the picture decoded in bands (during the VAE decoder), and 2.00 GB are available; 640×640 would fit.',
    );
    expect(bytes).toMatchObject({ peak: 8000 * 1024 ** 2, peakInTurn: 4000 * 1024 ** 2 });
  });

  it('knows the limits of the device', () => {
    const buffer = judge({ limits: { ...limits, maxBufferSize: 2e9 }, available: undefined });
    expect(buffer).toMatchObject({
      fits: false,
      reason: expect.stringMatching(/one buffer of 2.10 GB.*2.00 GB; 896×896/) as string,
    });
    const binding = judge({ limits: { ...limits, maxStorageBufferBindingSize: 128 * 2 ** 20 }, available: 64e9 });
    expect(binding).toMatchObject({
      fits: false,
      reason: expect.stringMatching(/reads 2.10 GB at once.*256×256/) as string,
    });
  });

  it('does not promise a smaller size where there is none', () => {
    expect(judge({ limits, available: 1e6 }).reason).toContain('use a smaller model');
  });
});

describe('willItFit', () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'))));
  beforeAll(() => writeMicroModel(folder));
  afterAll(() => rm(folder, { recursive: true }));

  /** An engine whose ONNX Runtime makes no session; notes how far weight files are read. */
  const countingEngine = () => {
    const furthest = new Map<string, number>();
    const tree = folderTree(folder);
    const engine = createEngine({
      // Anything that used it would fail.
      runtime: { backend: 'wasm', loadOrt: () => Promise.resolve({} as Ort) },
      openTree: () => ({
        ...tree,
        async open(path) {
          const source = await tree.open(path);
          if (source === undefined || !path.endsWith('.safetensors')) return source;
          return {
            ...source,
            read: (start, end) => {
              furthest.set(path, Math.max(end, furthest.get(path) ?? 0));
              return source.read(start, end);
            },
          };
        },
      }),
      encodePicture: () => Promise.reject(new Error('no picture is made here')),
      newUUID: () => crypto.randomUUID(),
      randomSeed: () => 1n,
      now: () => 0,
      defaultModel: 'micro',
    });
    return { engine, furthest };
  };
  const request = {
    taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    positivePrompt: 'a fox',
    model: 'micro',
    width: 128,
    height: 128,
  };

  it('reads headers, not weights', async () => {
    const { engine, furthest } = countingEngine();
    const fit = await engine.willItFit(request);
    expect(fit).toMatchObject({ fits: true, available: 2 ** 32 });
    expect(furthest.size).toBe(3);
    for (const [path, end] of furthest) {
      const header = Number((await readFile(join(folder, path))).readBigUInt64LE(0));
      expect(end).toBe(8 + header);
    }
    await engine.dispose();
  });

  it('holds the heap, or the budget, against the prediction', async () => {
    const { engine } = countingEngine();
    const small = await engine.willItFit(request, { memoryBudgetBytes: 1e6 });
    expect(small).toMatchObject({ fits: false, available: 1e6 });
    const large = await engine.willItFit({ ...request, width: 2048, height: 2048 });
    expect(large.bytes.peak).toBeGreaterThan(20 * small.bytes.peak);
    await engine.dispose();
  });

  it('refuses a wrong request as a run would', async () => {
    const { engine } = countingEngine();
    await expect(engine.willItFit({ ...request, width: 100 })).rejects.toMatchObject({ code: 'invalidWidth' });
    await engine.dispose();
  });
});
