/** @file The decoder in bands against pictures that diffusers decoded in one piece: band heights, sizes, models; and what it leaves behind. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { readDiffusersFolder } from '../../src/assets/diffusers-folder.js';
import type { WeightFile } from '../../src/assets/weights.js';
import { parseAutoencoderKLConfig, type AutoencoderKLConfig } from '../../src/models/configs/autoencoder-kl.js';
import { vaeDecoderGraph, VAE_IO } from '../../src/graphs/autoencoder-kl.js';
import { bandedGraphs, decodeBands } from '../../src/pipeline/banded-decoder.js';
import { cut, type BandPlan } from '../../src/pipeline/banded-plan.js';
import { createComponent } from '../../src/pipeline/component.js';
import { fromDialect, stackBands } from '../../src/pipeline/layout.js';
import { createProgress } from '../../src/pipeline/progress.js';
import type { DeviceArray } from '../../src/runtime/device-array.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';

const GOLDEN = join(import.meta.dirname, '../golden');
/** One piece differs by as much: the rounding of float32. */
const ROUNDING = { absolute: 2e-5, relative: 0 };

interface Vae {
  readonly config: AutoencoderKLConfig;
  readonly file: WeightFile;
}

let runtime: Runtime;
beforeAll(async () => (runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode })));
afterAll(() => runtime.dispose());

async function open(model: string): Promise<Vae> {
  const { vae } = await readDiffusersFolder(folderTree(join(GOLDEN, 'models', model)));
  return { config: parseAutoencoderKLConfig(vae.config), file: await vae.open() };
}

const quiet = () => ({ progress: createProgress({ taskUUID: '', numberResults: 1 }, () => undefined, () => 0) });

/** `[3,H,W]` of latents `[C,h,w]`. */
async function inBands({ config, file }: Vae, latents: Float32Array, width: number, plan: BandPlan, on = runtime) {
  const component = createComponent(on, file);
  const shape = { config, width, plan };
  try {
    const models = await component.loadAll('bands', () => bandedGraphs(shape, on.dialect), quiet());
    const bands = await decodeBands(on, shape, models, latents, undefined);
    return fromDialect(on.dialect.layout, stackBands(on.dialect.layout, bands, 3), 3);
  } finally {
    await component.dispose();
  }
}

async function inOnePiece({ config, file }: Vae, latents: Float32Array, height: number, width: number) {
  const component = createComponent(runtime, file);
  const options = { dialect: runtime.dialect, dtype: 'float32' } as const;
  const write = () => vaeDecoderGraph(config, { batch: 1, height, width }, options);
  return component.once(write, quiet(), async (model) => (await model.run({ [VAE_IO.latents]: latents }))[VAE_IO.picture]);
}

describe('the decoder in bands', () => {
  it.each([
    ['sd15-euler', 'sd15-tiny', 1, 1],
    ['sd15-euler', 'sd15-tiny', 3, 1],
    ['sd15-euler', 'sd15-tiny', 7, 2],
    ['sd15-euler', 'sd15-tiny', 16, 1],
    ['sdxl-default', 'sdxl-tiny', 5, 1],
    ['sdxl-default', 'sdxl-tiny', 8, 3],
    ['vae-override', 'vae-sd15-b', 4, 1],
  ])('gives the picture of %s (%s) in bands of %i rows behind %i blocks', async (name, model, rows, wholeBlocks) => {
    const golden = await readTensors(nodeFolder(GOLDEN), `cases/${name}/tensors.safetensors`);
    const latents = Float32Array.from(golden.get('decode.input') ?? []);
    const plan = { heights: cut(16, Math.ceil(16 / rows)), wholeBlocks };
    const picture = await inBands(await open(model), latents, 16, plan);
    const result = compare('decoded', picture, golden.get('decoded') ?? [], ROUNDING);
    console.log(result);
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  });
});
