/** @file Where bytes come from: a random-access file, and a folder of such files. Interfaces only; makers are beside this file. */
import type { DerivedFiles } from './derived-files.js';

/**
 * Told of bytes as they arrive (from a network: in pieces). Negative when a broken piece is thrown away to be fetched
 * again, so the sum is always what has arrived for good.
 */
export type OnBytes = (bytes: number) => void;

/** A file that can be read in pieces; never held whole in memory. */
export interface ByteSource {
  /** For messages: a path or URL without credentials. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * Bytes `start` (inclusive) to `end` (exclusive). Rejects with a `DarkroomError` when they cannot be had.
   * @param room memory that the bytes may be put into, which saves a fresh array; what is given back is a part of it then, else an array of its own
   */
  read(
    start: number,
    end: number,
    signal?: AbortSignal,
    onBytes?: OnBytes,
    room?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array>;
  /** The same bytes as a Blob that leaves them where they are, on disk. Absent where they would have to be fetched into memory. */
  blob?(start: number, end: number, signal?: AbortSignal): Promise<Blob>;
  /** Brings the whole file onto this machine, where it is not; reads of weights do so by themselves. Absent: there is nothing to bring. */
  download?(signal?: AbortSignal): Promise<void>;
  /** Whether `download` would bring it now. Absent: it would not. */
  isMissing?(): boolean;
  /** Tells these bytes from all others, on another day too. `undefined`: not known, or not yet; absent: never. */
  identity?(signal?: AbortSignal): Promise<string | undefined>;
}

/** A folder (of a diffusers model, say): a path such as `unet/config.json` → its file, or `undefined` where there is none. */
export interface FileTree {
  readonly name: string;
  open(path: string, signal?: AbortSignal, onBytes?: OnBytes): Promise<ByteSource | undefined>;
  /** The paths of all its files. Absent where they cannot be listed: over a URL. */
  list?(signal?: AbortSignal): Promise<readonly string[]>;
  /** Where one file was given rather than a folder: its path. What lies beside it may belong to it. */
  readonly file?: string;
  /** The same address taken as one file, where it could be either. */
  readonly asFile?: FileTree;
  /** Keeps what is made of its files. Absent: nothing is kept. */
  readonly derived?: DerivedFiles;
  /** Says that no file of it is read any more, so that stored ones may be deleted. Absent: nothing is held. */
  close?(): void;
}
