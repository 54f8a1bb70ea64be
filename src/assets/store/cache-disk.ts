/**
 * @file A disk in the Cache API, for browsers whose private file system cannot be written in pieces. A cache entry is written whole or
 * not at all, so a file is cut into pages, an entry each.
 */
import { blobView, createPlace, type Disk, type DiskFile } from './disk.js';

/** Bytes of a page. Pages that were written to are held in memory until they are flushed. */
const PAGE_BYTES = 8 << 20;

/** Entries need addresses; `.invalid` (RFC 2606) leads nowhere. */
const ORIGIN = 'https://darkroom.invalid/';

export interface CacheDiskOptions {
  readonly pageBytes?: number;
  /** Opens the cache once more, where it was deleted under us. */
  readonly again?: () => Promise<Cache>;
}

/** @param first used for nothing else */
export function createCacheDisk(first: Cache, { pageBytes = PAGE_BYTES, again }: CacheDiskOptions = {}): Disk {
  const within = createPlace(first, again);
  const address = (name: string, page: number): string => `${ORIGIN}${name}/${page}`;
  const load = async (name: string, page: number): Promise<Blob | undefined> =>
    (await within.place().match(address(name, page)))?.blob();

  /** Name → the numbers of its pages, in order. */
  const pages = async (only?: string): Promise<ReadonlyMap<string, readonly number[]>> => {
    const found = new Map<string, number[]>();
    for (const { url } of await within.run((cache) => cache.keys())) {
      const [name = '', page = ''] = url.slice(ORIGIN.length).split('/');
      if (only === undefined || name === only) found.set(name, [...(found.get(name) ?? []), Number(page)]);
    }
    for (const numbers of found.values()) numbers.sort((a, b) => a - b);
    return found;
  };
  /** A file ends where its last page does; pages never written are zeros. */
  const bytesOf = async (name: string, numbers: readonly number[]): Promise<number> => {
    const last = numbers[numbers.length - 1];
    return last === undefined ? 0 : last * pageBytes + ((await load(name, last))?.size ?? 0);
  };

  return {
    kind: 'cache',
    async list() {
      const all = await pages();
      return Promise.all([...all].map(async ([name, numbers]) => ({ name, bytes: await bytesOf(name, numbers) })));
    },
    async open(name) {
      const existing = (await pages(name)).get(name) ?? [];
      const put = (page: number, content: Blob): Promise<void> =>
        within.run((cache) => cache.put(address(name, page), new Response(content)));
      if (existing.length === 0) await put(0, new Blob());
      const store: Pages = {
        load: async (page) => new Uint8Array((await (await load(name, page))?.arrayBuffer()) ?? new ArrayBuffer(0)),
        save: (page, bytes) => put(page, new Blob([bytes])),
        drop: async (page) => void (await within.place().delete(address(name, page))),
      };
      return openPages(store, pageBytes, await bytesOf(name, existing));
    },
    async view(name) {
      const numbers = (await pages(name)).get(name);
      if (numbers === undefined) return undefined;
      const parts: Blob[] = [];
      for (let page = 0, last = numbers[numbers.length - 1] ?? 0; page <= last; page++) {
        const part = (await load(name, page)) ?? new Blob();
        parts.push(part);
        if (page < last && part.size < pageBytes) parts.push(new Blob([new Uint8Array(pageBytes - part.size)]));
      }
      return blobView(new Blob(parts));
    },
    async remove(name) {
      const numbers = (await pages(name)).get(name) ?? [];
      // from the end: what a crash leaves is a file that is too short, which the store does not take for whole
      for (const page of [...numbers].reverse()) await within.place().delete(address(name, page));
    },
  };
}

interface Pages {
  load(page: number): Promise<Uint8Array<ArrayBuffer>>;
  save(page: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  drop(page: number): Promise<void>;
}

/** A page in memory: the first `length` bytes of `bytes` are in the file. */
interface Page {
  bytes: Uint8Array<ArrayBuffer>;
  length: number;
}

/** The page with room for `length` bytes. */
function grow(page: Page, length: number): void {
  if (length > page.bytes.length) {
    const larger = new Uint8Array(Math.max(length, page.bytes.length * 2));
    larger.set(page.bytes);
    page.bytes = larger;
  }
  page.length = Math.max(page.length, length);
}

/** One call after the other: what a flush writes must not be read back before it is there. */
function openPages(pages: Pages, pageBytes: number, length: number): DiskFile {
  const file = pagedFile(pages, pageBytes, length);
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work, work);
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    bytes: () => inTurn(() => file.bytes()),
    read: (start, end) => inTurn(() => file.read(start, end)),
    write: (bytes, at) => inTurn(() => file.write(bytes, at)),
    truncate: (bytes) => inTurn(() => file.truncate(bytes)),
    flush: () => inTurn(() => file.flush()),
    close: () => inTurn(() => file.close()),
  };
}

function pagedFile(pages: Pages, pageBytes: number, length: number): DiskFile {
  const dirty = new Map<number, Page>();
  let end = length;

  const pageAt = async (number: number): Promise<Page> => {
    const known = dirty.get(number);
    if (known !== undefined) return known;
    const bytes = await pages.load(number);
    return { bytes, length: bytes.length };
  };
  /** Calls `work` for each page that holds bytes of `start` to `stop`. */
  const eachPage = async (
    start: number,
    stop: number,
    work: (page: number, from: number, to: number) => Promise<void>,
  ): Promise<void> => {
    for (let at = start; at < stop;) {
      const page = Math.floor(at / pageBytes);
      const to = Math.min(stop, (page + 1) * pageBytes);
      await work(page, at, to);
      at = to;
    }
  };
  const flush = async (): Promise<void> => {
    for (const [number, page] of [...dirty].sort(([a], [b]) => a - b)) {
      await pages.save(number, page.bytes.slice(0, page.length));
      dirty.delete(number);
    }
  };

  return {
    bytes: () => Promise.resolve(end),
    async read(start, stop) {
      const out = new Uint8Array(Math.max(0, Math.min(stop, end) - start));
      await eachPage(start, start + out.length, async (number, from, to) => {
        const base = number * pageBytes;
        const page = await pageAt(number);
        out.set(page.bytes.subarray(from - base, Math.min(to - base, page.length)), from - start);
      });
      return out;
    },
    async write(bytes, at) {
      await eachPage(at, at + bytes.length, async (number, from, to) => {
        const base = number * pageBytes;
        const page = await pageAt(number);
        grow(page, to - base);
        page.bytes.set(bytes.subarray(from - at, to - at), from - base);
        dirty.set(number, page);
      });
      if (bytes.length > 0) end = Math.max(end, at + bytes.length);
    },
    async truncate(bytes) {
      const last = Math.max(0, Math.ceil(bytes / pageBytes) - 1);
      for (let number = Math.max(0, Math.ceil(end / pageBytes) - 1); number > last; number--) {
        dirty.delete(number);
        await pages.drop(number);
      }
      const page = await pageAt(last);
      const length = bytes - last * pageBytes;
      const kept = new Uint8Array(length);
      kept.set(page.bytes.subarray(0, Math.min(length, page.length)));
      dirty.set(last, { bytes: kept, length });
      end = bytes;
    },
    flush,
    close: flush,
  };
}
