/** @file What the pipeline worker is made of: the engine and the stores, built from the browser's own parts. */
import { modelTree } from '../src/assets/file-tree.js';
import { createIndexedDbDriver } from '../src/assets/image-drivers.js';
import { createImagePins } from '../src/assets/image-pins.js';
import { createImageStore, defaultLimitBytes, type ImageStore } from '../src/assets/image-store.js';
import type { FileTree } from '../src/assets/source.js';
import { createBrowserStore } from '../src/assets/store/browser-store.js';
import type { ModelStore } from '../src/assets/store/model-store.js';
import { addressTree, type HttpDeps } from '../src/assets/url-tree.js';
import type { WireModel, WorkerOptions } from '../src/client/wire.js';
import { decodeWithCanvas } from '../src/image/decode.js';
import { encodeWithCanvas } from '../src/image/encode.js';
import { DEFAULT_MODEL } from '../src/models/bundled.js';
import { CLIP_TOKENIZER_FILES } from '../src/models/clip-tokenizer.js';
import { bundledRegistry, register, type ModelRegistry, type ResolvedModel } from '../src/models/registry.js';
import { createEngine, type Engine } from '../src/pipeline/engine.js';
import { openTree } from '../src/pipeline/open-tree.js';
import type { OnBusy } from '../src/runtime/busy.js';
import { createIndexedDbMemo } from '../src/runtime/memo.js';
import { loadOrtInBrowser } from '../src/runtime/ort.js';

/** A worker's own things. */
export interface Parts {
  readonly engine: Engine;
  readonly images: ImageStore;
  readonly models: ModelStore;
  /** @throws as `register` */
  registerModel(model: WireModel): void;
}

/** @param onBusy told before and after calls that may block this thread */
export function makeParts(options: WorkerOptions, onBusy: OnBusy): Parts {
  const { backend, strictGpu, keepModels, authorization, memoryBudgetBytes } = options;
  const plain: HttpDeps = { fetch: (url, init) => fetch(url, init) };
  const withLogin: HttpDeps = { ...plain, authorization };
  const clipTokenizer = addressTree('CLIP', CLIP_TOKENIZER_FILES, plain);
  const images = makeImageStore(options.imageStoreBytes);
  const models = createBrowserStore(withLogin);
  let registry = options.models.reduce(add, bundledRegistry());

  /** Models over the network are kept, where the browser lets us; others are where they are, and what is made of them is kept. */
  const treeOf = ({ reference, source }: ResolvedModel): FileTree => {
    if (keepModels && source.kind === 'url' && /^https?:/.test(source.url)) {
      return models.tree(source.url, { title: reference });
    }
    const tree = modelTree(reference, source, withLogin);
    return keepModels ? models.beside(reference, tree) : tree;
  };
  const engine = createEngine({
    runtime: {
      backend,
      strictGpu,
      loadOrt: loadOrtInBrowser,
      gpu: navigator.gpu, // typed as always there; it is not in every browser
      memo: createIndexedDbMemo(),
      onBusy,
    },
    openTree: (model, wanted) => openTree({ registry, treeOf, clipTokenizer }, model, wanted),
    encodePicture: encodeWithCanvas,
    pictures: { fetch: plain.fetch, decodePicture: decodeWithCanvas, images },
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => BigInt(Math.max(1, crypto.getRandomValues(new Uint32Array(1))[0] ?? 1)),
    now: () => performance.now(),
    defaultModel: DEFAULT_MODEL,
    memoryBudgetBytes,
  });
  return {
    engine,
    images,
    models,
    registerModel(model) {
      registry = add(registry, model);
    },
  };
}

function add(known: ModelRegistry, { air, source, ...details }: WireModel): ModelRegistry {
  return register(known, air, source, details);
}

/** Lib types say that all of these are always there; they are not on pages without a secure origin. */
const { storage, locks } = navigator as Partial<Pick<Navigator, 'storage' | 'locks'>>;

function makeImageStore(imageStoreBytes: number | undefined): ImageStore {
  return createImageStore({
    driver: createIndexedDbDriver(),
    pins: createImagePins(locks),
    limitBytes: () => (imageStoreBytes === undefined ? defaultLimitBytes(storage) : Promise.resolve(imageStoreBytes)),
    now: () => Date.now(),
  });
}
