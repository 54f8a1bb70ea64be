/** @file What banded-encoder.test.ts runs inside Chromium: an encoder at once and in bands, on a WebGPU runtime that refuses to fall back to the CPU. */
import { urlTree } from '../../src/assets/url-tree.js';
import { readVaeFolder } from '../../src/assets/vae-files.js';
import type { RgbPicture } from '../../src/image/pixels.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import type { Tiles } from '../../src/pipeline/banded-plan.js';
import { createComponent } from '../../src/pipeline/component.js';
import { encodeGuides, hasEncoder } from '../../src/pipeline/flux/guide.js';
import { createProgress } from '../../src/pipeline/progress.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';
import { createRuntime } from '../../src/runtime/runtime.js';

/** A picture `[H,W,3]` of bytes, and the rows of latents in a band. */
export interface EncodeRun {
  readonly model: string;
  readonly width: number;
  readonly height: number;
  readonly rgb: readonly number[];
  readonly tiles: readonly Tiles[];
}

const opening = createRuntime({ backend: 'webgpu', strictGpu: true, loadOrt: loadOrtInBrowser, gpu: navigator.gpu });

/** @returns for each of `tiles` the posterior */
async function encode({
  model,
  width,
  height,
  rgb,
  tiles,
}: EncodeRun): Promise<readonly { readonly mean: readonly number[]; readonly std: readonly number[] }[]> {
  const runtime = await opening;
  const url = new URL(`/folder/goldens/models/${model}/`, location.href).href;
  const tree = urlTree(url, { fetch: (input, init) => fetch(input, init) });
  const { config, open } = await readVaeFolder(tree);
  const vae = { ...createComponent(runtime, await open()), config: parseVaeConfig(config) };
  if (!hasEncoder(vae)) throw new TypeError('not an AutoencoderKL');
  const picture: RgbPicture = { width, height, rgb: Uint8Array.from(rgb) };
  const size = { channels: vae.config.latentChannels, height: height / 8, width: width / 8 };
  const progress = createProgress(
    { taskUUID: '', numberResults: 1 },
    () => undefined,
    () => 0,
  );
  const made = [];
  for (const tile of tiles) {
    const [moments] = await encodeGuides(runtime, vae, size, [picture], { progress, signal: undefined }, tile);
    made.push({ mean: [...(moments?.mean ?? [])], std: [...(moments?.std ?? [])] });
  }
  await vae.dispose();
  return made;
}

Reflect.set(globalThis, 'encoderPage', { encode });
