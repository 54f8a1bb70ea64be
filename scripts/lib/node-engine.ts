/** @file The engine in Node: models from the disk, the Hub and URLs, ONNX Runtime's CPU build, JPEG and WEBP by sharp, pictures kept in memory. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { modelTree } from '../../src/assets/file-tree.js';
import { createMemoryDriver } from '../../src/assets/image-drivers.js';
import { createImagePins } from '../../src/assets/image-pins.js';
import { createImageStore, defaultLimitBytes } from '../../src/assets/image-store.js';
import type { FileTree } from '../../src/assets/source.js';
import type { ModelStore } from '../../src/assets/store/model-store.js';
import { fail } from '../../src/base/errors.js';
import type { DecodePicture } from '../../src/image/decode.js';
import type { EncodePicture } from '../../src/image/encode.js';
import { MAX_PIXELS } from '../../src/image/read-picture.js';
import { DEFAULT_MODEL } from '../../src/models/bundled.js';
import { bundledRegistry, register, type ModelRegistry, type ResolvedModel } from '../../src/models/registry.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import type { ModelTree } from '../../src/pipeline/library.js';
import { openTree } from '../../src/pipeline/open-tree.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { fileWithConfigs } from './file-with-configs.js';
import { folderTree } from './folder-tree.js';

export { DEFAULT_MODEL };
export const BUNDLED_MODEL = join(import.meta.dirname, '../../models/tinyworld');

const clipTokenizer = folderTree(join(import.meta.dirname, '../../models/clip-tokenizer'));

export interface NodeEngineOptions {
  /** AIR or name → folder or weight file on disk, beside the bundled model. */
  readonly models: Readonly<Record<string, string>>;
  /** What is said of some of them, as in `registerModel()`. */
  readonly details?: Readonly<Record<string, object>>;
  /** A diffusers folder that models of one file take their configs, tokenizers and missing parts from. */
  readonly base?: string;
  /** Bytes that a request may take; default: what there is. */
  readonly memoryBudgetBytes?: number;
  /** Where models that come over the network are kept, and what is made of any; default: nowhere. */
  readonly store?: ModelStore;
}

export function createNodeEngine({ models, details = {}, base, memoryBudgetBytes, store }: NodeEngineOptions): Engine {
  const registry = Object.entries({ [DEFAULT_MODEL]: BUNDLED_MODEL, ...models }).reduce<ModelRegistry>(
    (known, [name, path]) => {
      const said = Object.hasOwn(details, name) ? details[name] : undefined; // a model may be called `constructor`
      return register(known, name, { kind: 'url', url: pathToFileURL(path).href }, said);
    },
    bundledRegistry(),
  );
  return createEngine({
    runtime: { backend: 'wasm', loadOrt: loadOrtInNode },
    openTree(name, wanted): ModelTree {
      const opened = openTree({ registry, treeOf: (model) => treeOf(model, store), clipTokenizer }, name, wanted);
      if (base === undefined || opened.file === undefined) return opened;
      const { about, derived } = opened;
      const given = folderTree(base);
      const kept = { ...(derived && { derived }), close: () => opened.close?.() };
      return {
        ...fileWithConfigs(opened, given),
        ...kept,
        ...(about && { about }),
        clipTokenizer,
        companions: [given],
      };
    },
    encodePicture,
    pictures: {
      fetch,
      decodePicture,
      images: createImageStore({
        driver: createMemoryDriver(),
        pins: createImagePins(undefined),
        limitBytes: () => defaultLimitBytes(undefined),
        now: () => Date.now(),
      }),
    },
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => BigInt(Math.max(1, crypto.getRandomValues(new Uint32Array(1))[0] ?? 1)),
    now: () => performance.now(),
    defaultModel: DEFAULT_MODEL,
    memoryBudgetBytes,
  });
}

function treeOf({ source, reference }: ResolvedModel, store: ModelStore | undefined): FileTree {
  if (source.kind === 'url' && source.url.startsWith('file:')) {
    const tree = diskTree(fileURLToPath(source.url));
    return store?.beside(reference, tree) ?? tree;
  }
  return store !== undefined && source.kind === 'url'
    ? store.tree(source.url, { title: reference })
    : modelTree(reference, source, { fetch });
}

/** @throws missingModelFile when there is neither a folder nor a file */
function diskTree(path: string): FileTree {
  const found = statsOf(path);
  if (found === 'file' || found === 'folder') return folderTree(path);
  throw fail('missingModelFile', `There is no file or folder ${path}${found === undefined ? '' : `: ${found}`}.`, {
    parameter: 'model',
    hint: 'Give --model NAME=PATH the path of a diffusers folder or of a .safetensors file.',
  });
}

/** What is there; else why it cannot be told, or what it is instead. */
function statsOf(path: string): string | undefined {
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    return stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'it is a device or a pipe';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const encodePicture: EncodePicture = async ({ width, height, rgb }, { mime, quality }) => {
  const image = sharp(rgb, { raw: { width, height, channels: 3 } });
  const encoded = mime === 'image/jpeg' ? image.jpeg({ quality }) : image.webp({ quality });
  return new Uint8Array(await encoded.toBuffer());
};

/** Of an animation the first picture. */
const decodePicture: DecodePicture = async (bytes) => {
  const image = sharp(bytes, { ignoreIcc: true, limitInputPixels: MAX_PIXELS }).autoOrient();
  const { data, info } = await image.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, rgb: new Uint8Array(data) };
};
