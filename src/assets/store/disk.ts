/** @file What the store needs of a disk: named files without folders, written in pieces, read as Blobs. Interfaces only. */

/** Where files are kept: the browser's private file system, its Cache API, memory, or a folder (outside the browser). */
export type DiskKind = 'opfs' | 'cache' | 'memory' | 'folder';

export interface DiskEntry {
  readonly name: string;
  readonly bytes: number;
}

/** A file that is being written. Whoever opened it closes it. */
export interface DiskFile {
  bytes(): Promise<number>;
  /** Bytes from `start` to `end`, or to the file's end where that comes first. */
  read(start: number, end: number): Promise<Uint8Array>;
  /** Writes at `at`; beyond the end, what lies between is zeros. Rejects with a `QuotaExceededError` when there is no room. */
  write(bytes: Uint8Array<ArrayBuffer>, at: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  /**
   * Makes the file as long as it will be, so that its room is its own from now on; shorter it does not become. Rejects with a `QuotaExceededError`
   * when there is no such room, and the file is as it was. Absent where only writing tells.
   */
  reserve?(bytes: number): Promise<void>;
  /** Makes what was written outlast a crash. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** A file that is read. */
export interface DiskView {
  readonly bytes: number;
  /** Bytes from `start` to `end`, both inside the file. @param room memory that they may be put into; what is given back is a part of it then */
  read(start: number, end: number, room?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  /** The same bytes, left on the disk. Absent where the system has no such thing. */
  readonly blob?: Blob;
}

/** Names are of `a-z`, `0-9`, `.` and `-`. */
export interface Disk {
  readonly kind: DiskKind;
  list(): Promise<readonly DiskEntry[]>;
  /** Opens a file for writing, made where there is none. A file may be open once at a time: callers hold a lock for it. */
  open(name: string): Promise<DiskFile>;
  /** The file as it is now, read from the disk when the view is; `undefined` where there is none. */
  view(name: string): Promise<DiskView | undefined>;
  /** Deletes a file; nothing happens where there is none. */
  remove(name: string): Promise<void>;
}

/** Cuts a file whose room was taken beforehand to what is in it. */
export async function giveBackRoom(file: Pick<DiskFile, 'reserve' | 'bytes' | 'truncate'>, end: number): Promise<void> {
  if (file.reserve !== undefined && (await file.bytes()) > end) await file.truncate(end);
}

export function blobView(blob: Blob): DiskView {
  return {
    bytes: blob.size,
    read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
    blob,
  };
}

/** Where a disk keeps its files. It may be deleted under us, as when the visitor clears the site's data. */
export interface Place<P> {
  place(): P;
  /** Runs work that fails where the place is gone: then it is made anew, and the work is done once more. */
  run<T>(work: (place: P) => Promise<T>): Promise<T>;
}

/** @param again makes it anew; absent: what is gone stays so */
export function createPlace<P>(first: P, again?: () => Promise<P>): Place<P> {
  let place = first;
  return {
    place: () => place,
    async run(work) {
      try {
        return await work(place);
      } catch (error) {
        if (again === undefined || !isGone(error)) throw error;
        place = await again();
        return work(place);
      }
    },
  };
}

/** Whether an error says that a file, or where it was, is not there. */
export function isGone(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'NotFoundError';
}

/** Whether an error is the browser's or the system's way to say that there is no room left. */
export function isFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === 'QuotaExceededError' || ('code' in error && error.code === 'ENOSPC');
}

/** Writes a note that can be done without: a full disk can still be read from. */
export async function unlessFull(write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!isFull(error)) throw error;
  }
}
