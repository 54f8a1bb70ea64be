/** @file The soak in this process, on the CPU: its models, and what Node says of memory and of what is open. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createMemoryDriver } from '../../src/assets/image-drivers.js';
import { createImagePins } from '../../src/assets/image-pins.js';
import { createImageStore } from '../../src/assets/image-store.js';
import { fail } from '../../src/base/errors.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { writeMicroControlNet, writeMicroLora, writeMicroModel } from '../../test/micro-model.js';
import { folderTree } from './folder-tree.js';
import { BUNDLED_MODEL } from './node-engine.js';
import { aboutSoak, BUNDLED, MICRO_MODELS, SOAK_GUIDE, SOAK_MODELS, type SoakSet } from './soak-plan.js';
import { soakPictures, type Measured, type SoakOptions, type SoakResult } from './soak-pictures.js';

export const GOLDEN = join(import.meta.dirname, '../../test/golden');

/** Bytes that the heap may rise over a whole soak: compiled code and inline caches settle late. */
const ALLOWED = { heapBytes: 3e6, outsideBytes: 1e6 } as const;

/** Of pictures that were made. */
const KEPT_BYTES = 300_000;

/** What the command line decides. */
export type SoakRequest = Pick<SoakOptions, 'set' | 'pictures' | 'forMs' | 'seed' | 'onPicture'>;

export async function soakInNode(options: SoakRequest): Promise<SoakResult> {
  const files = await soakFolders(options.set);
  const engine = createSoakEngine(files.folders);
  try {
    return await soakPictures({ ...options, engine, guide: soakGuide(), measure: measurer(), allowed: ALLOWED });
  } finally {
    await engine.dispose();
    await files.remove();
  }
}

/** Name in requests → folder. */
export async function soakFolders(
  set: SoakSet,
): Promise<{ readonly folders: Readonly<Record<string, string>>; remove(): Promise<void> }> {
  if (set !== 'micro') {
    const golden = Object.entries(SOAK_MODELS).map(([name, path]) => [name, join(GOLDEN, path)] as const);
    return { folders: { ...Object.fromEntries(golden), [BUNDLED]: BUNDLED_MODEL }, remove: () => Promise.resolve() };
  }
  const root = await mkdtemp(join(tmpdir(), 'darkroom-soak-'));
  const folders = Object.fromEntries(MICRO_MODELS.map((name) => [name, join(root, name)]));
  const [model, lora, control] = MICRO_MODELS.map((name) => join(root, name));
  if (model !== undefined) await writeMicroModel(model);
  if (lora !== undefined) await writeMicroLora(lora);
  if (control !== undefined) await writeMicroControlNet(control);
  return { folders, remove: () => rm(root, { recursive: true }) };
}

/** As the command line's, but that it keeps few pictures: else the store of results would be what grows. */
function createSoakEngine(folders: Readonly<Record<string, string>>): Engine {
  const refuse = (): Promise<never> =>
    Promise.reject(fail('unsupportedParameter', 'The soak needs no pictures but PNG.'));
  return createEngine({
    runtime: { backend: 'wasm', loadOrt: loadOrtInNode },
    openTree: (name) => ({ ...folderTree(folders[name] ?? name), ...aboutSoak(name) }),
    encodePicture: refuse,
    pictures: {
      fetch: refuse,
      decodePicture: refuse,
      images: createImageStore({
        driver: createMemoryDriver(),
        pins: createImagePins(undefined),
        limitBytes: () => Promise.resolve(KEPT_BYTES),
        now: () => Date.now(),
      }),
    },
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => 1n,
    now: () => performance.now(),
    defaultModel: BUNDLED,
  });
}

export function soakGuide(): string {
  return `data:image/png;base64,${readFileSync(join(GOLDEN, SOAK_GUIDE)).toString('base64')}`;
}

function measurer(): () => Promise<Measured> {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  return async () => {
    // Twice, with a turn between: what finalizers release is garbage only then.
    for (let i = 0; i < 2; i++) {
      if (typeof collect === 'function') Reflect.apply(collect, undefined, []);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const { heapUsed, external } = process.memoryUsage();
    return {
      heapBytes: heapUsed,
      outsideBytes: external,
      handles: process.getActiveResourcesInfo().length,
      ...openFiles(),
    };
  };
}

/** Where the system tells. */
function openFiles(): Measured {
  try {
    return { files: readdirSync('/proc/self/fd').length };
  } catch {
    return {};
  }
}
