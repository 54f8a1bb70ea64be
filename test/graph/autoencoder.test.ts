/** @file The VAE encoder against diffusers' posterior of a real picture, and attention in blocks against attention at once. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDiffusersFolder } from '../../src/assets/diffusers-folder.js';
import { stableDiffusion } from '../../src/assets/open-model.js';
import type { ModelFiles } from '../../src/assets/model-files.js';
import { VAE_IO, vaeDecoderGraph, vaeEncoderGraph } from '../../src/graphs/autoencoder-kl.js';
import { decodePng } from '../../src/image/png.js';
import { parseAutoencoderKLConfig } from '../../src/models/configs/autoencoder-kl.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../src/onnx/net.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const options = { dialect: wasmDialect, dtype: 'float32' } as const;
let runtime: Runtime;
let folder: ModelFiles;

beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  folder = stableDiffusion(await readDiffusersFolder(folderTree(join(GOLDEN, 'models/sd15-tiny'))));
});
afterAll(() => runtime.dispose());

describe('AutoencoderKL', () => {
  it('encodes a picture to the posterior that diffusers gives', async () => {
    const golden = await readTensors(nodeFolder(GOLDEN), 'cases/img2img-half/tensors.safetensors');
    const image = await decodePng(await nodeFolder(GOLDEN).read('cases/img2img-half/seed-image.png'));
    const area = image.width * image.height;
    // uint8 → [0, 1] → [−1, 1], channels first: diffusers' VaeImageProcessor.preprocess.
    const pixels = Float32Array.from(
      { length: 3 * area },
      (_, i) => (2 * (image.data[(i % area) * image.channels + Math.floor(i / area)] ?? 0)) / 255 - 1,
    );
    const config = parseAutoencoderKLConfig(folder.vae.config);
    const graph = vaeEncoderGraph(config, { batch: 1, height: image.height, width: image.width }, options);
    const model = await runtime.openBank(await folder.vae.open()).load(graph);
    const { [VAE_IO.moments]: moments = new Float32Array() } = await model.run({ [VAE_IO.picture]: pixels });
    await model.dispose();
    const half = moments.length / 2;
    for (const [name, part] of [
      ['encode.0.mean', moments.subarray(0, half)],
      ['encode.0.logvar', moments.subarray(half)],
    ] as const) {
      const result = compare(name, part, golden.get(name) ?? [], { absolute: 1e-4, relative: 0 });
      expect(isWithin(result), JSON.stringify(result)).toBe(true);
    }
  });

  it('decodes alike whether attention runs at once or in blocks of queries', async () => {
    const x = Float32Array.from({ length: 64 * 16 }, (_, i) => Math.sin(i));
    const run = async (maxScores: number): Promise<Float32Array> => {
      const graph = writeGraph('wide', options, (net) => {
        const tokens = net.tokens('x', { n: 1, s: 64, c: 16 });
        net.output('y', net.wideAttention(tokens, tokens, tokens, { maxScores }));
      });
      const model = await runtime.openBank(await folder.vae.open()).load(graph);
      const { y = new Float32Array() } = await model.run({ x });
      await model.dispose();
      return y;
    };
    expect(isWithin(compare('blocks', await run(5 * 64), await run(64 * 64), { absolute: 1e-6, relative: 0 }))).toBe(
      true,
    );
  });

  it('refuses weights that do not belong to the config, by name and shape', async () => {
    const config = { ...parseAutoencoderKLConfig(folder.vae.config), latentChannels: 8 };
    const graph = vaeDecoderGraph(config, { batch: 1, height: 8, width: 8 }, options);
    await expect(runtime.openBank(await folder.vae.open()).load(graph)).rejects.toMatchObject({
      code: 'invalidModelFile',
      message: expect.stringMatching(
        /post_quant_conv\.weight" is \[4, 4, 1, 1\], the config asks for \[8, 8, 1, 1\]/,
      ) as string,
    });
  });
});
