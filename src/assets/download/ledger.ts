/**
 * @file What of a file has arrived: noted beside the file every so often, and hashed in order by reading it back, so that the hash is of
 * what the disk has and not of what the network said. Bytes arrive out of order; the hash follows as far as there is no gap.
 */
import type { DiskFile } from '../store/disk.js';
import { addRange, firstGap, type Range } from './ranges.js';
import { createSha256, type Sha256 } from './sha256.js';

export interface Ledger {
  /** These bytes are in the file now. @throws what saving or hashing failed with */
  add(range: Range): void;
  done(): readonly Range[];
  /** Notes everything; after this it outlasts a crash. */
  save(): Promise<void>;
  /** Waits for a note that is being written: the next one must not meet it. */
  settle(): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
  /** The hash of the first `size` bytes, which must all be there. */
  hash(size: number): Promise<string>;
}

export interface LedgerOptions {
  readonly file: Pick<DiskFile, 'read' | 'flush'>;
  /** What is there already. */
  readonly done: readonly Range[];
  /** Notes what is there. Called when those bytes are safe. */
  readonly note: (done: readonly Range[]) => Promise<void>;
  readonly saveBytes: number;
  readonly saveMs: number;
  readonly now: () => number;
  /** SHA-256; default our own. */
  readonly createHash?: () => Sha256;
}

/** Read back and hashed at a time; about 10 ms of work. */
const HASH_BYTES = 1 << 20;

export function createLedger(options: LedgerOptions): Ledger {
  const { file, done: before, note, saveBytes, saveMs, now, createHash = createSha256 } = options;
  let done = before;
  let unsaved = 0;
  let savedAt = now();
  let saving: Promise<void> | undefined;
  let hashed = 0;
  let hashing: Promise<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  let hash = createHash();

  const save = async (): Promise<void> => {
    const noted = done; // what arrives while the disk is busy is for the next time
    unsaved = 0;
    savedAt = now();
    await file.flush();
    await note(noted);
  };
  /** Again, if enough has come meanwhile: a connection that falls silent brings no further `add`. */
  const saveAll = async (): Promise<void> => {
    do await save();
    while (unsaved >= saveBytes);
  };
  const advance = async (): Promise<void> => {
    for (let end = firstGap(done); hashed < end && failure === undefined; end = firstGap(done)) {
      const bytes = await file.read(hashed, Math.min(end, hashed + HASH_BYTES));
      if (bytes.length === 0) throw new Error(`The disk gave back nothing at byte ${hashed}, which was written.`);
      hash.update(bytes);
      hashed += bytes.length;
    }
  };
  /** Runs `work` beside the download; what goes wrong is thrown by the next `add`. */
  const beside = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failure ??= { error };
    }
  };
  const check = (): void => {
    if (failure !== undefined) throw failure.error;
  };

  return {
    add(range) {
      check();
      done = addRange(done, range);
      unsaved += range[1] - range[0];
      if (unsaved >= saveBytes || now() - savedAt >= saveMs) {
        saving ??= beside(saveAll).finally(() => (saving = undefined));
      }
      if (firstGap(done) >= hashed + HASH_BYTES) hashing ??= beside(advance).finally(() => (hashing = undefined));
    },
    done: () => done,
    async save() {
      await saving;
      await save();
    },
    async settle() {
      await saving;
    },
    async clear() {
      await hashing;
      check();
      done = [];
      unsaved = 0;
      hashed = 0;
      hash = createHash();
    },
    async hash(size) {
      await Promise.all([hashing, saving]); // when this returns, nothing is written or noted any more
      check();
      await advance();
      if (hashed !== size) throw new Error(`${hashed} of ${size} bytes are there to be hashed.`);
      return hash.digest();
    },
  };
}
