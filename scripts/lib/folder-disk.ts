/** @file A disk of the store in a folder, for the command line and the tests. */
import { mkdirSync } from 'node:fs';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disk, DiskFile, DiskView } from '../../src/assets/store/disk.js';

/** @param folder made where there is none, and used for nothing else */
export function createFolderDisk(folder: string): Disk {
  mkdirSync(folder, { recursive: true });
  return {
    kind: 'folder',
    async list() {
      const entries = await readdir(folder);
      return Promise.all(entries.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
    },
    open: (name) => openFile(join(folder, name)),
    async view(name) {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      return found && viewFile(path, found.size);
    },
    remove: (name) => rm(join(folder, name), { force: true }),
  };
}

/** Read as it is needed, so that no file stays open. Blobs of files (`fs.openAsBlob`) end at 4 GiB in Node 20. */
function viewFile(path: string, bytes: number): DiskView {
  return {
    bytes,
    async read(start, end) {
      const handle = await open(path, 'r');
      try {
        const out = new Uint8Array(end - start);
        const { bytesRead } = await handle.read(out, 0, out.length, start);
        return out.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
  };
}

async function openFile(path: string): Promise<DiskFile> {
  const handle = await open(path, 'r+').catch(() => open(path, 'w+'));
  return {
    bytes: async () => (await handle.stat()).size,
    async read(start, end) {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, (await handle.stat()).size) - start));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
      return bytes.subarray(0, bytesRead);
    },
    async write(bytes, at) {
      for (let done = 0; done < bytes.length;) {
        done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      }
    },
    truncate: (bytes) => handle.truncate(bytes),
    flush: () => handle.datasync(),
    close: () => handle.close(),
  };
}
