/** @file Runs inside the browser, in a worker: the disk in the private file system, asked by a page. */
import { expose } from 'comlink';
import type { DiskView } from '../../src/assets/store/disk.js';
import { createOpfsDisk } from '../../src/assets/store/opfs-disk.js';

const FOLDER = 'opfs-test';
const disk = (async () =>
  createOpfsDisk(await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true })))();
const views = new Map<string, DiskView>();

export interface Shown {
  readonly values: readonly number[];
  readonly inRoom: boolean;
}

const worker = {
  /** A file of so many bytes, all of one value. */
  async write(name: string, bytes: number, value: number): Promise<void> {
    const file = await (await disk).open(name);
    try {
      await file.truncate(0);
      await file.write(new Uint8Array(bytes).fill(value), 0);
    } finally {
      await file.close();
    }
  },
  /** Views it anew, for the reads from now on. */
  async view(name: string): Promise<number | undefined> {
    const view = await (await disk).view(name);
    if (view !== undefined) views.set(name, view);
    return view?.bytes;
  },
  async read(name: string, start: number, end: number, roomBytes = 0): Promise<Shown | undefined> {
    const room = new Uint8Array(roomBytes);
    const bytes = await views.get(name)?.read(start, end, room);
    return bytes && { values: [...bytes], inRoom: bytes.buffer === room.buffer };
  },
  async remove(name: string): Promise<void> {
    await (await disk).remove(name);
  },
  /** Keeps others from reading in place, for so long, as browsers without modes do to each other. */
  async holdAlone(name: string, ms: number): Promise<void> {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER);
    const handle = await folder.getFileHandle(name);
    const create = Reflect.get(handle, 'createSyncAccessHandle') as () => Promise<{ close(): void }>;
    const held = await create.call(handle);
    setTimeout(() => held.close(), ms);
  },
};
export type OpfsWorker = typeof worker;

expose(worker);
