/** @file For the tests of the store: stores over one disk as tabs have them, and a network that can be cut. */
import type { HttpDeps } from '../../../src/assets/http.js';
import type { Disk } from '../../../src/assets/store/disk.js';
import type { Channel } from '../../../src/assets/store/events.js';
import { createLocks, type Locks } from '../../../src/assets/store/locks.js';
import { createMemoryDisk } from '../../../src/assets/store/memory-disk.js';
import { createModelStore, type ModelStore, type StoreDeps } from '../../../src/assets/store/model-store.js';

/** A browser: a disk and locks that its tabs share, and a clock. */
export interface FakeBrowser {
  readonly disk: Disk;
  readonly locks: Locks;
  /** Milliseconds at the start; add to it to let time pass. */
  time: number;
  online: boolean;
  /** URLs that were fetched, with their `Authorization`. */
  readonly requests: { readonly url: string; readonly authorization: string | undefined }[];
  tab(more?: Partial<StoreDeps> & { readonly deps?: Partial<HttpDeps> }): ModelStore;
}

export const DAY = 86_400_000;

export function createFakeBrowser(disk: Disk = createMemoryDisk()): FakeBrowser {
  const locks = createLocks();
  const channels = createChannels();
  const started = performance.now();
  const browser: FakeBrowser = {
    disk,
    locks,
    time: Date.UTC(2026, 8, 1),
    online: true,
    requests: [],
    tab: ({ deps = {}, ...more } = {}) =>
      createModelStore({
        openDisk: () => Promise.resolve({ kind: 'disk', disk }),
        http: {
          fetch: (input, init) => {
            const url = input instanceof Request ? input.url : String(input);
            browser.requests.push({ url, authorization: new Headers(init?.headers).get('authorization') ?? undefined });
            return browser.online ? fetch(input, init) : Promise.reject(new TypeError('Failed to fetch'));
          },
          now: () => browser.time + performance.now() - started,
          random: () => 0.5,
          sleep: () => new Promise((resolve) => setTimeout(resolve, 1)),
          ...deps,
        },
        locks,
        channel: channels(),
        tuning: { chunkBytes: 65536, saveBytes: 65536, tries: 3 },
        ...more,
      }),
  };
  return browser;
}

/** Channels that hear each other, but not themselves. */
function createChannels(): () => Channel {
  const all: { readonly listeners: ((event: { readonly data: unknown }) => void)[] }[] = [];
  return () => {
    const own: (typeof all)[number] = { listeners: [] };
    all.push(own);
    return {
      postMessage(message) {
        const data: unknown = structuredClone(message);
        for (const other of all) if (other !== own) for (const listener of other.listeners) listener({ data });
      },
      addEventListener: (_, listener) => void own.listeners.push(listener),
    };
  };
}

/** Everything on a disk, as one text. */
export async function textOfDisk(disk: Disk): Promise<string> {
  const parts = (await disk.list()).map(async ({ name, bytes }) => {
    const contents = await (await disk.view(name))?.read(0, bytes);
    return `${name}\n${new TextDecoder().decode(contents)}`;
  });
  return (await Promise.all(parts)).join('\n');
}

/** A disk in memory on which writing fails as in a browser, once files together are larger than `room()` bytes. */
export function limitedDisk(room: () => number): Disk {
  const inner = createMemoryDisk();
  return {
    ...inner,
    async open(name) {
      const opened = await inner.open(name);
      const write: typeof opened.write = async (bytes, at) => {
        const used = (await inner.list()).reduce((sum, entry) => sum + entry.bytes, 0);
        if (used + bytes.length > room()) throw new DOMException('no room', 'QuotaExceededError');
        return opened.write(bytes, at);
      };
      return { ...opened, write };
    },
  };
}
