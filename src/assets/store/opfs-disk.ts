/**
 * @file A disk in the origin private file system, written through synchronous access handles, which exist in workers only
 * (https://fs.spec.whatwg.org/#api-filesystemsyncaccesshandle).
 */
import { blobView, type Disk, type DiskEntry, type DiskFile } from './disk.js';

/** A worker that was just killed keeps its handle for a moment: so often, and after so many milliseconds, it is asked for again. */
const OPEN_TRIES = 20;
const OPEN_WAIT_MS = 100;

/** What the DOM types leave to those of workers. */
interface SyncAccessHandle {
  getSize(): number;
  read(into: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  write(bytes: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  truncate(bytes: number): void;
  flush(): void;
  close(): void;
}

interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<SyncAccessHandle>;
}

/** Whether files can be written in pieces here: in workers of today's browsers. */
function hasSyncAccess(handle: FileSystemFileHandle): handle is SyncFileHandle {
  return 'createSyncAccessHandle' in handle;
}

/** @param folder of the private file system, used for nothing else */
export function createOpfsDisk(folder: FileSystemDirectoryHandle): Disk {
  return {
    kind: 'opfs',
    async list() {
      const entries: DiskEntry[] = [];
      for await (const [name, handle] of folder.entries()) {
        if (!isFile(handle)) continue;
        const file = await found(handle.getFile()); // another tab may have removed it meanwhile
        if (file !== undefined) entries.push({ name, bytes: file.size });
      }
      return entries;
    },
    async open(name) {
      const handle = await folder.getFileHandle(name, { create: true });
      return openHandle(await syncAccess(handle));
    },
    async view(name) {
      const handle = await found(folder.getFileHandle(name));
      const file = handle && (await found(handle.getFile()));
      return file && blobView(file);
    },
    async remove(name) {
      await found(folder.removeEntry(name));
    },
  };
}

function isFile(handle: FileSystemHandle): handle is FileSystemFileHandle {
  return handle.kind === 'file';
}

async function syncAccess(handle: FileSystemFileHandle): Promise<SyncAccessHandle> {
  if (!hasSyncAccess(handle)) throw new TypeError('This browser cannot write files in pieces here.');
  for (let tried = 1; ; tried++) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (error) {
      const taken = error instanceof DOMException && error.name === 'NoModificationAllowedError';
      if (!taken || tried === OPEN_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, OPEN_WAIT_MS));
    }
  }
}

/** The calls are synchronous; an `async` function turns what they throw into a rejection. */
function openHandle(handle: SyncAccessHandle): DiskFile {
  return {
    bytes: async () => Promise.resolve(handle.getSize()),
    read: async (start, end) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, handle.getSize()) - start));
      const count = handle.read(bytes, { at: start });
      return Promise.resolve(bytes.subarray(0, count));
    },
    write: async (bytes, at) => {
      const count = handle.write(bytes, { at });
      if (count < bytes.length) {
        throw new DOMException(`${count} of ${bytes.length} bytes could be written.`, 'QuotaExceededError');
      }
      return Promise.resolve();
    },
    truncate: async (bytes) => Promise.resolve(handle.truncate(bytes)),
    flush: async () => Promise.resolve(handle.flush()),
    close: async () => Promise.resolve(handle.close()),
  };
}

/** `undefined` in place of a `NotFoundError`. */
async function found<T>(search: Promise<T>): Promise<T | undefined> {
  try {
    return await search;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'NotFoundError') return undefined;
    throw error;
  }
}
