/** @file What preprocess.test.ts runs inside Chromium: one preprocessor on a WebGPU runtime that refuses to fall back to the CPU. */
import { urlTree } from '../../src/assets/url-tree.js';
import type { PreProcessorType } from '../../src/pipeline/preprocess/run.js';
import { createPreprocess } from '../../src/pipeline/preprocess/run.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';
import { createRuntime } from '../../src/runtime/runtime.js';

export interface PageRun {
  readonly type: PreProcessorType;
  readonly reference: string;
  /** Folder or file of the weights, below the served goldens. */
  readonly files: string;
  readonly picture: { readonly width: number; readonly height: number; readonly rgb: readonly number[] };
}

const opening = createRuntime({ backend: 'webgpu', strictGpu: true, loadOrt: loadOrtInBrowser, gpu: navigator.gpu });

async function preprocessInPage({ type, reference, files, picture }: PageRun): Promise<readonly number[]> {
  const tree = urlTree(new URL(`/folder/goldens/${files}`, location.href).href, {
    fetch: (input, init) => fetch(input, init),
  });
  const preprocess = createPreprocess({
    getRuntime: () => opening,
    openTree: (asked) => {
      if (asked !== reference) throw new Error(`asked for ${asked}`);
      return tree;
    },
  });
  const request = { type, lowThreshold: 100, highThreshold: 200, handsAndFace: true };
  const made = await preprocess({ ...picture, rgb: Uint8Array.from(picture.rgb) }, request);
  return [...made.rgb];
}

/** Bytes of buffers on the GPU. */
async function bytesLeft(): Promise<number> {
  return (await opening).memory().gpuBytes;
}

Reflect.set(globalThis, 'preprocessInPage', preprocessInPage);
Reflect.set(globalThis, 'bytesLeft', bytesLeft);
