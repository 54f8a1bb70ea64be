/** @file The decoder in bands against pictures that diffusers decoded in one piece: heights of bands, shapes, models; and what it leaves behind. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { readVaeFolder } from '../../src/assets/vae-files.js';
import { decodePng } from '../../src/image/png.js';
import type { RgbPicture } from '../../src/image/pixels.js';
import { tinyDecoderGraph } from '../../src/graphs/autoencoder-tiny.js';
import { parseAutoencoderTinyConfig } from '../../src/models/configs/autoencoder-tiny.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import { rowMoments } from '../../src/onnx/bands.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../src/onnx/net.js';
import { bandedGraphs, decodeBands } from '../../src/pipeline/banded-decoder.js';
import { predictBands } from '../../src/pipeline/banded-memory.js';
import { cut, type BandPlan, type Tiles } from '../../src/pipeline/banded-plan.js';
import { groupStatistics } from '../../src/pipeline/banded-statistics.js';
import { createComponent } from '../../src/pipeline/component.js';
import { decodeLatents, type DecodePlan } from '../../src/pipeline/decoder.js';
import { stackBands } from '../../src/pipeline/layout.js';
import type { Vae } from '../../src/pipeline/model.js';
import type { ProgressEvent } from '../../src/pipeline/events.js';
import { createProgress } from '../../src/pipeline/progress.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';
import { runGraph } from './block-sessions.js';
import { fakeWeightFile, noise } from '../unit/runtime/fake-weight-file.js';
import { watchArrays } from './watched-arrays.js';

const GOLDEN = join(import.meta.dirname, '../golden');
/** One piece differs from diffusers by about as much: the rounding of float32. */
const ROUNDING = { absolute: 2e-5, relative: 0 };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

async function openVae(model: string, on: Runtime = runtime): Promise<Vae> {
  const { config, open } = await readVaeFolder(folderTree(join(GOLDEN, 'models', model)));
  return { ...createComponent(on, await open()), config: parseVaeConfig(config) };
}

const quiet = () => ({
  progress: createProgress(
    { taskUUID: '', numberResults: 1 },
    () => undefined,
    () => 0,
  ),
});
const goldenTensors = (name: string) => readTensors(nodeFolder(GOLDEN), `cases/${name}/tensors.safetensors`);

/** `[C,h,w]` → `[3,8h,8w]`. */
async function inBands(vae: Vae, latents: Float32Array, width: number, plan: BandPlan, on = runtime) {
  const { config } = vae;
  if (config.kind !== 'kl') throw new TypeError('not an AutoencoderKL');
  const shape = { config, width, plan };
  try {
    const models = await vae.loadAll('bands', () => bandedGraphs(shape, on.dialect), quiet());
    return stackBands(on.dialect.layout, await decodeBands(on, shape, models, latents, undefined), 3);
  } finally {
    await vae.dispose();
  }
}

describe('the decoder in bands', () => {
  it.each([
    ['sd15-euler', 'sd15-tiny', 2, 1],
    ['sd15-euler', 'sd15-tiny', 7, 2],
    ['sd15-euler', 'sd15-tiny', 16, 1],
    ['sdxl-default', 'sdxl-tiny', 5, 1],
    ['sdxl-default', 'sdxl-tiny', 1, 3],
    ['vae-override', 'vae-sd15-b', 4, 1],
  ])(
    'gives the picture of %s (%s) in bands of %i rows behind %i whole blocks',
    async (name, model, rows, wholeBlocks) => {
      const golden = await goldenTensors(name);
      const latents = Float32Array.from(golden.get('decode.input') ?? []);
      const plan = { heights: cut(16, Math.ceil(16 / rows)), wholeBlocks };
      const picture = await inBands(await openVae(model), latents, 16, plan);
      const result = compare('decoded', picture, golden.get('decoded') ?? [], ROUNDING);
      expect(isWithin(result), JSON.stringify(result)).toBe(true);
    },
  );

  it('frees every array, also when it is stopped in the middle', async () => {
    const golden = await goldenTensors('sd15-euler');
    const latents = Float32Array.from(golden.get('decode.input') ?? []);
    const plan = { heights: [4, 4, 4, 4], wholeBlocks: 1 };
    const watched = watchArrays(runtime);
    await inBands(await openVae('sd15-tiny', watched.runtime), latents, 16, plan, watched.runtime);
    expect(watched.made()).toBeGreaterThan(100);
    expect(watched.alive()).toBe(0);
    const { config } = await openVae('sd15-tiny');
    if (config.kind !== 'kl') throw new TypeError('not an AutoencoderKL');
    expect(watched.mostBytes()).toBe(predictBands({ config, width: 16, plan }, runtime.dialect).bands);
    // No more at a time than the widest state, two tensors of it, with their edges, and a band.
    expect(watched.mostBytes()).toBeLessThan(2 * 128 * 128 * 16 * 4 * (1 + 2 / 32 + 1 / 4));

    const stopped = watchArrays(runtime, 77);
    await expect(
      inBands(await openVae('sd15-tiny', stopped.runtime), latents, 16, plan, stopped.runtime),
    ).rejects.toMatchObject({ message: 'no more' });
    expect(stopped.made()).toBe(76);
    expect(stopped.alive()).toBe(0);
  });
});

describe('decoding latents', () => {
  const planOf = (width: number, height: number): DecodePlan => ({
    width,
    height,
    latent: { channels: 4, height: height / 8, width: width / 8 },
  });
  const decodeWith = async (
    vae: Vae,
    latents: Float32Array,
    plan: DecodePlan,
    tiles: Tiles,
  ): Promise<{ readonly picture: RgbPicture; readonly decoded: ArrayLike<number> }> => {
    let decoded: ArrayLike<number> = [];
    const trace = (name: string, values: ArrayLike<number>): void => void (name === 'decoded' && (decoded = values));
    const picture = await decodeLatents(runtime, vae, plan, latents, { ...quiet(), trace }, { tiles });
    await vae.dispose();
    return { picture, decoded };
  };
  const decode = async (model: string, latents: Float32Array, plan: DecodePlan, tiles: Tiles) =>
    decodeWith(await openVae(model), latents, plan, tiles);

  it.each([
    ['sd15-portrait', 'sd15-tiny/vae', 128, 192, 5],
    ['sd15-landscape', 'sd15-tiny/vae', 192, 128, 3],
    ['vae-mean-std', 'vae-mean-std', 128, 128, 'always'],
  ] as const)('gives the pixels of %s', async (name, model, width, height, tiles) => {
    const latents = Float32Array.from((await goldenTensors(name)).get('latents.final') ?? []);
    const { picture } = await decode(model, latents, planOf(width, height), tiles);
    const golden = await decodePng(await nodeFolder(GOLDEN).read(`cases/${name}/image.png`));
    const result = compare('pixels', picture.rgb, golden.data, { absolute: 1, relative: 0 });
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  });

  it('tells of each run of a band, of the first to the last', async () => {
    const latents = Float32Array.from((await goldenTensors('sd15-portrait')).get('latents.final') ?? []);
    const heard: ProgressEvent[] = [];
    const progress = createProgress(
      { taskUUID: '', numberResults: 1 },
      (event) => event.kind === 'progress' && heard.push(event),
      () => 0,
    );
    for (const [tiles, model] of [
      [8, 'sd15-tiny/vae'],
      [8, 'vae-taesd'],
      ['never', 'sd15-tiny/vae'],
    ] as const) {
      heard.length = 0;
      const vae = await openVae(model);
      await decodeLatents(runtime, vae, planOf(128, 192), latents, { progress, signal: undefined }, { tiles });
      await vae.dispose();
      const runs = heard.filter(({ stage, step }) => stage === 'decode' && step !== undefined);
      // Three bands of 8 rows: the trunk, then at least the seven convolutions of one level, and the picture's.
      const least = tiles === 'never' ? 0 : model === 'vae-taesd' ? 3 : 1 + 3 * 8;
      expect(runs.length).toBeGreaterThanOrEqual(least);
      expect(runs.map(({ step }) => step)).toEqual(runs.map((_, i) => i + 1));
      expect(runs.every(({ of }) => of === runs.length)).toBe(true);
    }
  });

  it.each(['never', 'always', 1, 3, 16] as const)(
    'gives the picture of an AutoencoderTiny in windows (%s)',
    async (tiles) => {
      const golden = await goldenTensors('vae-taesd');
      const latents = Float32Array.from(golden.get('latents.final') ?? []);
      const { decoded } = await decode('vae-taesd', latents, planOf(128, 128), tiles);
      const result = compare('decoded', decoded, golden.get('decoded') ?? [], ROUNDING);
      expect(isWithin(result), JSON.stringify(result)).toBe(true);
    },
  );

  it.each([0, 2])(
    'reads as far as an AutoencoderTiny reaches, told by kernels that move the picture (row %i)',
    async (row) => {
      const config = parseAutoencoderTinyConfig({ _class_name: 'AutoencoderTiny' });
      const graph = tinyDecoderGraph(
        config,
        { batch: 1, height: 64, width: 2 },
        { dialect: wasmDialect, dtype: 'float32' },
      );
      const shapes = Object.fromEntries(graph.weights.map(({ name, value }) => [name, value.shape]));
      // Each 3×3 kernel reads its own channel in the row above (0) or below (2) alone.
      const { file } = fakeWeightFile(shapes, (name, count) => {
        const [, channels = 1] = shapes[name] ?? [];
        const tap = (i: number): number =>
          i % 9 === 3 * row + 1 && ((i - (i % 9)) / 9) % (channels + 1) === 0 ? 1 : 0;
        return Float32Array.from({ length: count }, (_, i) => (name.endsWith('weight') ? tap(i) : 0));
      });
      const latents = noise(7, 4 * 64 * 2, 1).map((value) => 1.5 + value);
      const vae: Vae = { ...createComponent(runtime, file), config };
      const pictures = [await decodeWith(vae, latents, planOf(16, 512), 'never')];
      pictures.push(await decodeWith(vae, latents, planOf(16, 512), 9));
      const [whole, cutUp] = pictures.map(({ decoded }) => decoded);
      const result = compare('decoded', cutUp ?? [], whole ?? [], { absolute: 0, relative: 1e-6 });
      expect(isWithin(result), JSON.stringify(result)).toBe(true);
    },
  );
});

describe('statistics of rows', () => {
  it('keep their digits where the mean is a thousand times the deviation', async () => {
    const [h, w, c] = [6, 50, 4];
    const x = noise(3, c * h * w).map((value) => 1000 + value);
    const graph = writeGraph('moments', { dialect: wasmDialect, dtype: 'float32' }, (net) =>
      net.output('y', rowMoments(net, net.image('x', { n: 1, h, w, c }))),
    );
    const { y = new Float32Array() } = await runGraph(
      runtime,
      fakeWeightFile({}, () => new Float32Array()).file,
      graph,
      { x },
    );
    const { mean, rstd } = groupStatistics([y], { channels: c, groups: 2, eps: 0 });
    for (const group of [0, 1]) {
      const values = Float64Array.from(x.subarray(group * 2 * h * w, (group + 1) * 2 * h * w));
      const average = values.reduce((a, b) => a + b, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((a, b) => a + (b - average) ** 2, 0) / values.length);
      expect(Math.abs((mean[2 * group] ?? NaN) - average)).toBeLessThan(2e-4);
      expect(Math.abs((rstd[2 * group + 1] ?? NaN) * deviation - 1)).toBeLessThan(1e-4);
    }
  });
});
