/**
 * @file The encoder in bands against the posterior that diffusers gives of a whole picture, and against the encoder in one piece: heights of bands, models; and
 * what it leaves behind.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { readVaeFolder } from '../../src/assets/vae-files.js';
import { decodePng } from '../../src/image/png.js';
import type { RgbPicture } from '../../src/image/pixels.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import { bandedEncoderGraphs, encodeBands } from '../../src/pipeline/banded-encoder.js';
import { encoderParts, runParts } from '../../src/pipeline/banded-memory.js';
import { cut, type BandPlan } from '../../src/pipeline/banded-plan.js';
import { createComponent } from '../../src/pipeline/component.js';
import { encodeGuides, hasEncoder } from '../../src/pipeline/flux/guide.js';
import { createProgress } from '../../src/pipeline/progress.js';
import { EMPTY_POOL } from '../../src/onnx/buffer-pool.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';
import { watchArrays } from './watched-arrays.js';

const GOLDEN = join(import.meta.dirname, '../golden');
/** As for the whole encoder (autoencoder.test.ts). */
const OF_DIFFUSERS = { absolute: 1e-4, relative: 0 };
/** As for the decoder in bands: the rounding of float32. */
const ROUNDING = { absolute: 2e-5, relative: 0 };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

async function openVae(model: string, on: Runtime = runtime) {
  const { config, open } = await readVaeFolder(folderTree(join(GOLDEN, 'models', model)));
  const vae = { ...createComponent(on, await open()), config: parseVaeConfig(config) };
  if (!hasEncoder(vae)) throw new TypeError('not an AutoencoderKL');
  return vae;
}

const quiet = () => ({
  progress: createProgress(
    { taskUUID: '', numberResults: 1 },
    () => undefined,
    () => 0,
  ),
  signal: undefined,
});

async function seed(): Promise<RgbPicture> {
  const { width, height, channels, data } = await decodePng(
    await nodeFolder(GOLDEN).read('cases/img2img-half/seed-image.png'),
  );
  return {
    width,
    height,
    rgb: Uint8Array.from({ length: 3 * width * height }, (_, i) => data[Math.floor(i / 3) * channels + (i % 3)] ?? 0),
  };
}

function expectWithin(
  name: string,
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: typeof ROUNDING,
): void {
  const result = compare(name, got, wanted, tolerance);
  expect(isWithin(result), JSON.stringify(result)).toBe(true);
}

const sizeOf = ({ width, height }: RgbPicture) => ({ channels: 4, height: height / 8, width: width / 8 });

describe('the encoder in bands', () => {
  it.each([1, 3, 5, 8, 16, 'always'] as const)(
    'gives the posterior that diffusers gives of a whole picture (bands of %s rows of latents)',
    async (tiles) => {
      const golden = await readTensors(nodeFolder(GOLDEN), 'cases/img2img-half/tensors.safetensors');
      const picture = await seed();
      const vae = await openVae('sd15-tiny');
      const [cutUp] = await encodeGuides(runtime, vae, sizeOf(picture), [picture], quiet(), tiles);
      const [whole] = await encodeGuides(runtime, vae, sizeOf(picture), [picture], quiet(), 'never');
      await vae.dispose();
      expectWithin('mean', cutUp?.mean ?? [], golden.get('encode.0.mean') ?? [], OF_DIFFUSERS);
      const std = Float32Array.from(golden.get('encode.0.logvar') ?? [], (value) => Math.exp(0.5 * value));
      expectWithin('std', cutUp?.std ?? [], std, OF_DIFFUSERS);
      expectWithin('mean', cutUp?.mean ?? [], whole?.mean ?? [], ROUNDING);
      expectWithin('std', cutUp?.std ?? [], whole?.std ?? [], ROUNDING);
    },
  );

  it.each([
    ['sdxl-tiny', 1],
    ['sdxl-tiny', 3],
    ['vae-sd15-b', 2],
  ])('gives what the whole encoder of %s gives, behind which are %i whole blocks', async (model, wholeBlocks) => {
    const picture = await seed();
    const vae = await openVae(model);
    const [whole] = await encodeGuides(runtime, vae, sizeOf(picture), [picture], quiet(), 'never');
    const { height } = sizeOf(picture);
    const moments = await encode(runtime, model, picture, { heights: cut(height, 3), wholeBlocks });
    await vae.dispose();
    const mean = moments.subarray(0, moments.length / 2);
    expectWithin('mean', mean, whole?.mean ?? [], ROUNDING);
  });

  it('frees every array, also when it is stopped in the middle, and holds what was predicted', async () => {
    const picture = await seed();
    const plan = { heights: cut(picture.height / 8, 4), wholeBlocks: 1 };
    const watched = watchArrays(runtime);
    await encode(watched.runtime, 'sd15-tiny', picture, plan);
    expect(watched.made()).toBeGreaterThan(100);
    expect(watched.alive()).toBe(0);
    const { config } = await openVae('sd15-tiny');
    const parts = encoderParts({ config, width: picture.width / 8, plan }, runtime.dialect);
    expect(watched.mostBytes()).toBe(runParts(EMPTY_POOL, parts).arrays);
    const left = parts.runs.reduce((alive, { made, freed }) => alive + made - freed, 0);
    expect(left).toBe(0);

    const stopped = watchArrays(runtime, 77);
    await expect(encode(stopped.runtime, 'sd15-tiny', picture, plan)).rejects.toMatchObject({ message: 'no more' });
    expect(stopped.made()).toBe(76);
    expect(stopped.alive()).toBe(0);
  });
});

/** Moments `[2C,h,w]`. */
async function encode(on: Runtime, model: string, picture: RgbPicture, plan: BandPlan): Promise<Float32Array> {
  const vae = await openVae(model, on);
  const { width, height, rgb } = picture;
  const area = width * height;
  const planes = Float32Array.from(
    { length: 3 * area },
    (_, i) => (2 * (rgb[3 * (i % area) + Math.floor(i / area)] ?? 0)) / 255 - 1,
  );
  const shape = { config: vae.config, width: width / 8, plan };
  try {
    const models = await vae.loadAll('bands', () => bandedEncoderGraphs(shape, on.dialect), quiet());
    return await encodeBands(on, shape, models, planes, undefined);
  } finally {
    await vae.dispose();
  }
}
