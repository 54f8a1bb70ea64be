/** @file Files that are made of a model's files and kept beside them: what is asked for, and where it is written. Interfaces only. */
import type { ByteSource } from './source.js';

/** Where the bytes of a file go while it is made. */
export interface DerivedOutput {
  write(bytes: Uint8Array<ArrayBuffer>, at: number): Promise<void>;
  /** All bytes before `end` were written: from there it may be gone on with, in another session too. */
  done(end: number): Promise<void>;
}

/** A file that can be made. */
export interface DerivedFile {
  /** Which one of those that are made of a model; of each one version is kept. */
  readonly what: string;
  /** Says what it is made of and how: under another key it is another version, and the former goes. */
  readonly key: string;
  readonly bytes: number;
  /**
   * Writes it, or what follows byte `from`: 0, or what {@link DerivedOutput.done} was told in an earlier try. Called only where the file is not
   * there, by one tab at a time.
   */
  write(output: DerivedOutput, from: number): Promise<void>;
}

/** Keeps such files. */
export interface DerivedFiles {
  /**
   * The file, made now where it is not there. Seen only when it is whole, and kept from deletion until its model's tree is closed.
   * @throws storageFull, storageFailed (also where nothing can be kept: the message says why), aborted, and what `write` throws
   */
  keep(file: DerivedFile, signal?: AbortSignal): Promise<ByteSource>;
}
