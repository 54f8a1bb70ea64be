/**
 * @file Reading a file of the private file system through a synchronous access handle, which readers share: twenty times faster than through its Blob
 * (`npm run bench -- load`), whose bytes pass through two other processes.
 */
/** Of the DOM, what its types leave to those of workers (https://fs.spec.whatwg.org/#api-filesystemsyncaccesshandle). */
export interface SyncAccessHandle {
  /** What else may be opened beside it. Absent in browsers that know no modes, where a handle is alone. */
  readonly mode?: string;
  getSize(): number;
  read(into: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  write(bytes: Uint8Array<ArrayBuffer>, options: { readonly at: number }): number;
  truncate(bytes: number): void;
  flush(): void;
  close(): void;
}

export interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options?: { readonly mode: 'read-only' }): Promise<SyncAccessHandle>;
}

/** Whether files can be read and written in place here: in workers of today's browsers. */
export function hasSyncAccess(handle: FileSystemFileHandle): handle is SyncFileHandle {
  return 'createSyncAccessHandle' in handle;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Reads one file. What is open while it does so keeps others from writing and from deleting the file, so it is closed soon. */
export interface OpfsReader {
  /** The file's length. */
  readonly bytes: number;
  /**
   * Bytes from `start` to `end`, in `room` where they fit into it; `undefined` where they cannot be read like this, now or ever: the file is being written,
   * has another length by now, or the browser has no such handles.
   */
  read(start: number, end: number, room?: Bytes): Promise<Bytes | undefined>;
  /** Closes what is open, and gives `undefined` from then on. Reads that were asked for before still get their bytes. */
  close(): Promise<void>;
}

/** How long it is not tried again where it could not be opened. */
const BLOCKED_MS = 1000;
/** How long after the last read it stays open: opening takes a millisecond, and another tab asks again for two seconds. */
const IDLE_MS = 200;

/** @param bytes the file's length */
export function createOpfsReader(file: FileSystemFileHandle, bytes: number): OpfsReader {
  let opening: Promise<SyncAccessHandle | undefined> | undefined;
  let reads = 0;
  let closed = false;
  let blockedUntil = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const rest = async (): Promise<void> => {
    clearTimeout(timer);
    const was = opening;
    opening = undefined;
    (await was)?.close();
  };
  const restSoon = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => (reads === 0 ? void rest() : restSoon()), IDLE_MS);
  };
  return {
    bytes,
    async read(start, end, room) {
      if (closed || performance.now() < blockedUntil) return undefined;
      reads++;
      opening ??= openShared(file, bytes);
      const handle = await opening;
      reads--;
      if (handle === undefined) {
        opening = undefined;
        blockedUntil = performance.now() + BLOCKED_MS;
        return undefined;
      }
      if (!closed) restSoon();
      return readFrom(handle, start, end, room);
    },
    close() {
      closed = true;
      return rest();
    },
  };
}

function readFrom(handle: SyncAccessHandle, start: number, end: number, room: Bytes | undefined): Bytes | undefined {
  const length = end - start;
  const into = room !== undefined && room.length >= length ? room.subarray(0, length) : new Uint8Array(length);
  return handle.read(into, { at: start }) === length ? into : undefined;
}

/** A handle that others may have too; `undefined` where the file is being written, is gone, has changed, or could only be had alone. */
async function openShared(file: FileSystemFileHandle, bytes: number): Promise<SyncAccessHandle | undefined> {
  if (!hasSyncAccess(file)) return undefined;
  const handle = await file.createSyncAccessHandle({ mode: 'read-only' }).catch(() => undefined);
  if (handle === undefined || (handle.mode === 'read-only' && handle.getSize() === bytes)) return handle;
  handle.close();
  return undefined;
}
