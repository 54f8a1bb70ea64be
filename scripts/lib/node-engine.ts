/** @file The engine in Node: models from folders on disk, ONNX Runtime's CPU build, JPEG and WEBP by sharp. */
import { join } from 'node:path';
import sharp from 'sharp';
import type { EncodePicture } from '../../src/image/encode.js';
import { fail } from '../../src/base/errors.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { folderTree } from './folder-tree.js';

export const DEFAULT_MODEL = 'darkroom:1@1';
export const BUNDLED_MODEL = join(import.meta.dirname, '../../models/tinyworld');

export interface NodeEngineOptions {
  /** Name → folder on disk, beside the bundled model. */
  readonly models: Readonly<Record<string, string>>;
}

export function createNodeEngine({ models }: NodeEngineOptions): Engine {
  const folders = new Map(Object.entries({ [DEFAULT_MODEL]: BUNDLED_MODEL, ...models }));
  return createEngine({
    runtime: { backend: 'wasm', loadOrt: loadOrtInNode },
    openTree(name) {
      const folder = folders.get(name);
      if (folder !== undefined) return folderTree(folder);
      throw fail(
        'modelNotFound',
        `No model is registered as ${JSON.stringify(name)}. Registered: ${[...folders.keys()].join(', ')}.`,
        {
          parameter: 'model',
          hint: 'Register a folder with --model NAME=PATH.',
        },
      );
    },
    encodePicture,
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => BigInt(Math.max(1, crypto.getRandomValues(new Uint32Array(1))[0] ?? 1)),
    now: () => performance.now(),
    defaultModel: DEFAULT_MODEL,
  });
}

const encodePicture: EncodePicture = async ({ width, height, rgb }, { mime, quality }) => {
  const image = sharp(rgb, { raw: { width, height, channels: 3 } });
  const encoded = mime === 'image/jpeg' ? image.jpeg({ quality }) : image.webp({ quality });
  return new Uint8Array(await encoded.toBuffer());
};
