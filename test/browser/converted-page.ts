/** @file Runs inside the browser: FLUX.1 of few bits through the public API, each picture by a Darkroom of its own; and what is stored. */
import { createDarkroom, type ProgressEvent } from '../../src/index.js';
import type { ModelOverrides } from '../../src/models/details.js';

export interface Made {
  readonly sha256: string;
  readonly warnings: readonly string[];
  /** Bytes that were told of while weights were rounded: for each file that was made, the first and the last. */
  readonly converted: readonly { readonly first: number; readonly last: number; readonly total: number }[];
}

export interface Asked {
  /** Address of the model. */
  readonly source: string;
  readonly overrides: ModelOverrides;
  /** Default: it is. */
  readonly keepModels?: boolean;
  /** Default: the CPU. */
  readonly backend?: 'webgpu' | 'wasm';
}

async function make({ source, overrides, keepModels = true, backend = 'wasm' }: Asked): Promise<Made> {
  const darkroom = createDarkroom({ backend, models: { flux: { source, overrides } }, keepModels });
  const events: ProgressEvent[] = [];
  try {
    const [picture] = await darkroom.imageInference(
      { positivePrompt: 'a red fox', model: 'flux', width: 128, height: 128, steps: 1, seed: 5, outputFormat: 'PNG' },
      { onProgress: (event) => void (event.stage === 'convert' && events.push(event)) },
    );
    if (picture === undefined) throw new Error('there is a picture');
    const hash = await crypto.subtle.digest('SHA-256', await picture.blob.arrayBuffer());
    const sha256 = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return { sha256, warnings: picture.warnings, converted: filesOf(events) };
  } finally {
    await darkroom.dispose();
  }
}

function filesOf(events: readonly ProgressEvent[]): Made['converted'] {
  const bytes = events.flatMap(({ bytes, totalBytes }) =>
    bytes === undefined || totalBytes === undefined ? [] : [{ bytes, totalBytes }],
  );
  return [...new Set(bytes.map(({ totalBytes }) => totalBytes))].map((total) => {
    const told = bytes.filter(({ totalBytes }) => totalBytes === total).map((event) => event.bytes);
    return { first: told[0] ?? NaN, last: told.at(-1) ?? NaN, total };
  });
}

/** Of the models that are kept, without an open one. */
async function list(): Promise<
  readonly { readonly id: string; readonly bytes: number; readonly derivedBytes: number }[]
> {
  const darkroom = createDarkroom({ backend: 'wasm' });
  return darkroom.models.list().finally(() => darkroom.dispose());
}

async function remove(id: string): Promise<void> {
  const darkroom = createDarkroom({ backend: 'wasm' });
  await darkroom.models.delete(id).finally(() => darkroom.dispose());
}

/** Sizes of all files of the private file system that are no records. */
async function dataBytes(): Promise<readonly number[]> {
  const sizes: number[] = [];
  const look = async (folder: FileSystemDirectoryHandle): Promise<void> => {
    for await (const [name, handle] of folder.entries()) {
      if (handle instanceof FileSystemDirectoryHandle) await look(handle);
      else if (handle instanceof FileSystemFileHandle && name.startsWith('d-'))
        sizes.push((await handle.getFile()).size);
    }
  };
  await look(await navigator.storage.getDirectory());
  return sizes;
}

const bench = { make, list, remove, dataBytes };
export type Bench = typeof bench;
Object.assign(globalThis, { bench });
document.body.dataset['ready'] = 'true';
