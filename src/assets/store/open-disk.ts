/** @file Chooses where a browser keeps files: the private file system, the Cache API, or nowhere. */
import { createCacheDisk } from './cache-disk.js';
import { isFull, type Disk } from './disk.js';
import { createOpfsDisk } from './opfs-disk.js';

/** A disk, or why there is none. */
export type DiskChoice =
  { readonly kind: 'disk'; readonly disk: Disk } | { readonly kind: 'none'; readonly reason: string };

/** `navigator.storage` and `caches` of a worker, where they are: pages without HTTPS and some private windows lack them. */
export interface BrowserStorage {
  readonly storage?: Pick<StorageManager, 'getDirectory'> | undefined;
  readonly caches?: Pick<CacheStorage, 'open'> | undefined;
}

const FOLDER = 'darkroom-store';

/**
 * Tries both by using them, since browsers offer what they then refuse. There is no disk in memory to fall back to: a model of gigabytes
 * would end the tab; without a disk, models are read from the network by ranges.
 */
export async function openBrowserDisk({ storage, caches }: BrowserStorage): Promise<DiskChoice> {
  const reasons: string[] = [];
  const attempt = async (what: string, open: () => Promise<Disk>): Promise<Disk | undefined> => {
    try {
      const disk = await open();
      await tryOut(disk);
      return disk;
    } catch (error) {
      reasons.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  const disk =
    (await attempt('private file system', async () => {
      if (storage?.getDirectory === undefined)
        throw new Error('not in this browser, or the page is not served by HTTPS');
      const open = async (): Promise<FileSystemDirectoryHandle> =>
        (await storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
      return createOpfsDisk(await open(), open);
    })) ??
    (await attempt('cache', async () => {
      if (caches === undefined) throw new Error('not in this browser, or the page is not served by HTTPS');
      const open = (): Promise<Cache> => caches.open(FOLDER);
      return createCacheDisk(await open(), { again: open });
    }));
  if (disk !== undefined) return { kind: 'disk', disk };
  return { kind: 'none', reason: `This browser stores no files here (${reasons.join('; ')}).` };
}

/** Writes and reads a byte. Two tabs may do so at once, so what is read is not compared. */
async function tryOut(disk: Disk): Promise<void> {
  const name = `trial-${Math.random().toString(36).slice(2)}`;
  try {
    await writeByte(disk, name);
  } catch (error) {
    await disk.remove(name);
    // a full disk can still be read from; one that has no room and nothing on it is none
    if (isFull(error) && (await disk.list()).length > 0) return;
    throw error;
  }
  const bytes = (await disk.view(name))?.bytes;
  await disk.remove(name);
  if (bytes !== 1) throw new Error('what is written cannot be read back');
}

async function writeByte(disk: Disk, name: string): Promise<void> {
  const file = await disk.open(name);
  try {
    await file.write(Uint8Array.of(1), 0);
    await file.flush();
  } finally {
    await file.close();
  }
}
