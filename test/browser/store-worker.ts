/** @file Runs inside the browser, in a worker: a store as the pipeline worker makes it. */
import { DarkroomError } from '../../src/base/errors.js';
import { sha256 } from '../../src/assets/download/sha256.js';
import type { ByteSource } from '../../src/assets/source.js';
import { createModelStore, type ModelStore } from '../../src/assets/store/model-store.js';
import { webLocks } from '../../src/assets/store/locks.js';
import { openBrowserDisk } from '../../src/assets/store/open-disk.js';

export type StoreQuestion =
  | {
      readonly kind: 'read';
      readonly address: string;
      readonly path: string;
      readonly authorization?: Readonly<Record<string, string>>;
    }
  /** Opens the file, and keeps it open. */
  | { readonly kind: 'hold'; readonly address: string; readonly path: string }
  /** Reads a part of the file that is held, without room of its own. */
  | { readonly kind: 'readHeld'; readonly start: number; readonly end: number }
  | { readonly kind: 'pin' | 'delete'; readonly address: string }
  | { readonly kind: 'list' | 'status' | 'speed' | 'usage' }
  | { readonly kind: 'only'; readonly disk: 'cache' };

export interface StoreAnswer {
  readonly id?: number;
  readonly value?: unknown;
  readonly error?: string;
  readonly bytes?: number;
}

let only: 'cache' | undefined;
let store: ModelStore | undefined;
let resumedBytes = 0;
let held: ByteSource | undefined;
const channel = new BroadcastChannel('darkroom-store');

function open(authorization: Readonly<Record<string, string>> = {}): ModelStore {
  if (store !== undefined) return store;
  store = createModelStore({
    openDisk: () => openBrowserDisk({ storage: only === 'cache' ? undefined : navigator.storage, caches }),
    http: { fetch: (input, init) => fetch(input, init), authorization, stallMs: 2000 },
    locks: webLocks(navigator.locks),
    channel,
    estimate: () => navigator.storage.estimate(),
    tuning: { chunkBytes: 1 << 18, saveBytes: 1 << 18 },
  });
  store.subscribe((event) => {
    postMessage({ bytes: event.bytes } satisfies StoreAnswer);
    if (event.state === 'done' && !event.elsewhere) resumedBytes = event.resumedBytes;
  });
  return store;
}

async function answer(question: StoreQuestion): Promise<unknown> {
  switch (question.kind) {
    case 'only':
      only = question.disk;
      return undefined;
    case 'list':
      return open().list();
    case 'status':
      return open().status();
    case 'usage':
      return (await navigator.storage.estimate()).usage;
    case 'pin':
      return open().pin(open().idOf(question.address), true);
    case 'delete':
      return open().delete(open().idOf(question.address));
    case 'hold':
      held = await open().tree(question.address).open(question.path);
      await held?.download?.();
      return held?.size;
    case 'readHeld':
      return [...((await held?.read(question.start, question.end)) ?? [])];
    case 'speed': {
      const bytes = new Uint8Array(64 << 20);
      const start = performance.now();
      sha256(bytes);
      return bytes.length / 1e3 / (performance.now() - start);
    }
    case 'read': {
      const tree = open(question.authorization).tree(question.address);
      const source = await tree.open(question.path);
      if (source === undefined) return undefined;
      const bytes = await source.read(0, source.size);
      const blob = await source.blob?.(1, 3);
      tree.close?.();
      return {
        hash: sha256(bytes),
        size: source.size,
        resumedBytes,
        blob: blob && [...new Uint8Array(await blob.arrayBuffer())],
      };
    }
    default:
      return question satisfies never;
  }
}

addEventListener('message', ({ data }: MessageEvent<{ readonly id: number; readonly question: StoreQuestion }>) => {
  answer(data.question).then(
    (value) => postMessage({ id: data.id, value } satisfies StoreAnswer),
    (error: unknown) => {
      const text = error instanceof DarkroomError ? `${error.code}: ${error.message}` : String(error);
      postMessage({ id: data.id, error: text } satisfies StoreAnswer);
    },
  );
});
