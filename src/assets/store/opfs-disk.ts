/**
 * @file A disk in the origin private file system, written through synchronous access handles, which exist in workers only
 * (https://fs.spec.whatwg.org/#api-filesystemsyncaccesshandle).
 */
import { blobView, createPlace, isGone, type Disk, type DiskEntry, type DiskFile, type DiskView } from './disk.js';
import { createOpfsReader, hasSyncAccess, type OpfsReader, type SyncAccessHandle } from './opfs-reader.js';

/** A worker that was just killed keeps its handle for a moment, as one that reads does: so often, and after so many milliseconds, it is asked for again. */
const OPEN_TRIES = 20;
const OPEN_WAIT_MS = 100;

/** Shorter files are records, which are read at once and written again and again. */
const SHARED_BYTES = 1 << 20;

/**
 * @param folder of the private file system, used for nothing else
 * @param again opens it once more, where it was deleted under us
 */
export function createOpfsDisk(
  folder: FileSystemDirectoryHandle,
  again?: () => Promise<FileSystemDirectoryHandle>,
): Disk {
  const within = createPlace(folder, again);
  const readers = new Map<string, OpfsReader>();
  const endReading = async (name: string): Promise<void> => {
    const reader = readers.get(name);
    readers.delete(name);
    await reader?.close();
  };
  return {
    kind: 'opfs',
    list: () => within.run(listFiles),
    async open(name) {
      await endReading(name);
      return within.run(async (place) =>
        openHandle(await syncAccess(await place.getFileHandle(name, { create: true }))),
      );
    },
    async view(name) {
      const handle = await found(within.place().getFileHandle(name));
      const file = handle && (await found(handle.getFile()));
      if (handle === undefined || file === undefined || file.size < SHARED_BYTES) return file && blobView(file);
      const known = readers.get(name);
      const reader = known?.bytes === file.size ? known : createOpfsReader(handle, file.size);
      readers.set(name, reader);
      return sharedView(reader, file);
    },
    async remove(name) {
      await endReading(name);
      await untilFree(() => found(within.place().removeEntry(name)));
    },
  };
}

async function listFiles(folder: FileSystemDirectoryHandle): Promise<readonly DiskEntry[]> {
  const entries: DiskEntry[] = [];
  for await (const [name, handle] of folder.entries()) {
    if (!isFile(handle)) continue;
    const file = await found(handle.getFile()); // another tab may have removed it meanwhile
    if (file !== undefined) entries.push({ name, bytes: file.size });
  }
  return entries;
}

function isFile(handle: FileSystemHandle): handle is FileSystemFileHandle {
  return handle.kind === 'file';
}

/** Through the file's Blob where the reader cannot. */
function sharedView(reader: OpfsReader, file: File): DiskView {
  const view = blobView(file);
  return {
    ...view,
    read: async (start, end, room) => (await reader.read(start, end, room)) ?? view.read(start, end),
  };
}

async function syncAccess(handle: FileSystemFileHandle): Promise<SyncAccessHandle> {
  if (!hasSyncAccess(handle)) throw new TypeError('This browser cannot write files in pieces here.');
  return untilFree(() => handle.createSyncAccessHandle());
}

/** Tries again while another tab reads the file. */
async function untilFree<T>(work: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await work();
    } catch (error) {
      const taken = error instanceof DOMException && error.name === 'NoModificationAllowedError';
      if (!taken || tried === OPEN_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, OPEN_WAIT_MS));
    }
  }
}

/**
 * The calls are synchronous; an `async` function turns what they throw into a rejection. Where there is no room, private windows of Chromium 156 throw
 * nothing: `write` gives 2³² − 8 then, and `truncate` leaves the file as it is.
 */
function openHandle(handle: SyncAccessHandle): DiskFile {
  const resize = (bytes: number): void => {
    handle.truncate(bytes);
    if (handle.getSize() !== bytes) throw noRoom(`The file has ${handle.getSize()} bytes; ${bytes} were asked for.`);
  };
  return {
    bytes: async () => Promise.resolve(handle.getSize()),
    read: async (start, end) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, handle.getSize()) - start));
      const count = handle.read(bytes, { at: start });
      return Promise.resolve(bytes.subarray(0, count));
    },
    write: async (bytes, at) => {
      const count = handle.write(bytes, { at });
      if (count !== bytes.length) throw noRoom(`Not all of ${bytes.length} bytes could be written.`);
      return Promise.resolve();
    },
    truncate: async (bytes) => Promise.resolve(resize(bytes)),
    reserve: async (bytes) => Promise.resolve(handle.getSize() < bytes ? resize(bytes) : undefined),
    flush: async () => Promise.resolve(handle.flush()),
    close: async () => Promise.resolve(handle.close()),
  };
}

function noRoom(what: string): DOMException {
  return new DOMException(what, 'QuotaExceededError');
}

/** `undefined` in place of a `NotFoundError`. */
async function found<T>(search: Promise<T>): Promise<T | undefined> {
  try {
    return await search;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
