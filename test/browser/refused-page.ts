/** @file Runs inside the browser: a store for each question in a worker of its own, and a picture by a worker that may keep nothing. */
import { wrap } from 'comlink';
import { createDarkroom } from '../../src/index.js';
import type { StoreStatus } from '../../src/assets/store/model-store.js';
import type { Looked, RefusedWorker } from './refused-worker.js';
import type { TakenAway } from './take-away.js';

async function read(taken: readonly TakenAway[], address: string, path: string): Promise<Looked> {
  const worker = new Worker(new URL('./refused-worker.ts', import.meta.url), { type: 'module' });
  return wrap<RefusedWorker>(worker)
    .read(taken, address, path)
    .finally(() => worker.terminate());
}

export interface MadeAnyway {
  readonly status: StoreStatus;
  readonly kept: number;
  readonly persisted: boolean;
  readonly sha256: string;
}

async function make(source: string, refused: boolean): Promise<MadeAnyway> {
  const darkroom = createDarkroom({
    backend: 'wasm',
    models: { tiny: source },
    ...(refused
      ? { worker: () => new Worker(new URL('./refused-pipeline-worker.ts', import.meta.url), { type: 'module' }) }
      : {}),
  });
  try {
    const [picture] = await darkroom.imageInference({
      positivePrompt: 'a red fox',
      model: 'tiny',
      width: 128,
      height: 128,
      steps: 1,
      seed: 5,
      outputFormat: 'PNG',
    });
    const hash = await crypto.subtle.digest('SHA-256', (await picture?.blob.arrayBuffer()) ?? new ArrayBuffer(0));
    return {
      status: await darkroom.models.status(),
      kept: (await darkroom.models.list()).length,
      persisted: await darkroom.models.persist(),
      sha256: [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
    };
  } finally {
    await darkroom.dispose();
  }
}

const refused = { read, make };
export type RefusedPage = typeof refused;
Object.assign(globalThis, { refused });
