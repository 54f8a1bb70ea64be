/** @file One file from a server onto the disk: resumed where it can be, begun anew where it must be, and hashed. */
import { fail, type DarkroomError } from '../../base/errors.js';
import { downloadFailed, publicUrl } from '../http.js';
import type { Call } from '../http.js';
import { giveBackRoom, type DiskFile } from '../store/disk.js';
import { createLedger, type Ledger } from './ledger.js';
import { probe, type Probe } from './probe.js';
import { countBytes, missingRanges, type Range } from './ranges.js';
import {
  DEFAULT_TUNING,
  transferRanges,
  transferStream,
  type Streamed,
  type Transfer,
  type Tuning,
} from './transfer.js';
import { isSameVersion, type FileVersion } from './version.js';

/** What of a file has arrived, and of which version. */
export interface PartialFile {
  readonly version: FileVersion;
  readonly done: readonly Range[];
}

/** What a file must be. */
export interface Expected {
  readonly bytes?: number;
  /** 64 hexadecimal digits. */
  readonly sha256?: string;
}

export interface DownloadProgress {
  /** Bytes there, those of earlier visits included. */
  readonly bytes: number;
  readonly totalBytes: number | undefined;
  readonly resumedBytes: number;
  readonly state: 'downloading' | 'verifying';
}

/** What a probe says of a file that is there. */
export type Found = Exclude<Probe, { readonly kind: 'absent' }>;

export interface DownloadOptions {
  readonly call: Call;
  /** Open for writing, and nobody else's. */
  readonly file: DiskFile;
  /** From {@link probe}, just now. */
  readonly found: Found;
  /** What an earlier download left in `file`. */
  readonly partial?: PartialFile | undefined;
  readonly expected?: Expected;
  /** Notes what has arrived; when it returns, that outlasts a crash. `undefined`: nothing of it is of use any more. */
  readonly note: (partial: PartialFile | undefined) => Promise<void>;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  readonly tuning?: Partial<Tuning>;
}

export interface Downloaded {
  readonly bytes: number;
  readonly sha256: string;
  readonly found: Found;
  /** Bytes that an earlier download had left and that were used. */
  readonly resumedBytes: number;
}

/** How often a file that changed is begun anew; the last time as one stream, which cannot be of two versions. */
const RESTARTS = 3;
/** Bytes of the first request. */
export const HEAD_BYTES = 65536;

/**
 * Brings a file into `options.file`. When it returns, all bytes are there, safe from a crash, and have been read back and hashed; when
 * it throws, what had arrived was noted.
 * @throws downloadFailed, accessDenied, hashMismatch, aborted, and what the disk throws
 */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const { call, expected = {} } = options;
  let { found, partial } = options;
  for (let restarts = 0; ; restarts++) {
    checkSize(call.url, found, expected);
    const end = await downloadOnce(options, found, partial);
    const problem = end.kind === 'done' ? mismatch(call.url, expected, end) : undefined;
    if (end.kind === 'done' && problem === undefined) return end;
    await options.note(undefined);
    await options.file.truncate(0);
    // a fresh download that is wrong would be wrong again; a resumed one may be of two versions
    if (problem !== undefined && end.kind === 'done' && end.resumedBytes === 0) throw problem;
    if (restarts === RESTARTS) throw downloadFailed(call.url, 'the file keeps changing on the server');
    partial = undefined;
    const again = await probe(call, HEAD_BYTES);
    if (again.kind === 'absent') throw downloadFailed(call.url, 'the file has gone from the server');
    if (again.page && !found.page) throw downloadFailed(call.url, 'the server has a page in its place now');
    const asStream = end.kind === 'noRanges' || restarts === RESTARTS - 1;
    found = asStream && again.kind === 'ranged' ? { ...again, kind: 'stream', exact: true } : again;
  }
}

type End = ({ readonly kind: 'done' } & Downloaded) | { readonly kind: 'changed' | 'noRanges' };

async function downloadOnce(options: DownloadOptions, found: Found, partial: PartialFile | undefined): Promise<End> {
  const { call, file, onProgress, note } = options;
  const tuning: Tuning = { ...DEFAULT_TUNING, ...options.tuning };
  const usable = await usableRanges(file, found, partial);
  if (usable.length === 0) await file.truncate(0);
  if (found.kind === 'ranged') await file.reserve?.(found.size);
  const resumedBytes = countBytes(usable);
  const totalBytes = 'size' in found ? found.size : found.bytes.length;
  const ledger = createLedger({
    file,
    done: usable,
    note: async (done) => (found.kind === 'ranged' ? note({ version: found.version, done }) : undefined),
    saveBytes: tuning.saveBytes,
    saveMs: tuning.saveMs,
    createHash: tuning.createHash,
    now: call.deps.now ?? Date.now,
  });
  const report = (state: DownloadProgress['state']): void =>
    onProgress?.({ state, bytes: countBytes(ledger.done()), totalBytes, resumedBytes });
  const onWritten = (range: Range): void => {
    ledger.add(range);
    report('downloading');
  };
  const restart = async (): Promise<void> => {
    await ledger.clear();
    await file.truncate(0);
  };
  const { version, page } = found;
  const transfer = { call, file, version, page, tuning, onWritten, restart };
  try {
    const end = await transferFound(found, transfer, ledger);
    if (typeof end === 'string') {
      await ledger.settle();
      return { kind: end };
    }
    const { bytes, version } = end;
    report('verifying');
    await file.flush();
    return { kind: 'done', bytes, sha256: await ledger.hash(bytes), found: { ...found, version }, resumedBytes };
  } catch (error) {
    // the reason it ended is what matters; a disk that fails now keeps what was noted before
    if (found.kind === 'ranged') await ledger.save().catch(() => undefined);
    await giveBackRoom(file, endOf(ledger.done())).catch(() => undefined);
    throw error;
  }
}

/** What of an earlier download is of the same version for certain, and is still there. */
async function usableRanges(file: DiskFile, found: Found, partial: PartialFile | undefined): Promise<readonly Range[]> {
  if (partial === undefined || found.kind !== 'ranged' || !isSameVersion(partial.version, found.version)) return [];
  return (await file.bytes()) >= endOf(partial.done) ? partial.done : [];
}

function endOf(ranges: readonly Range[]): number {
  return ranges[ranges.length - 1]?.[1] ?? 0;
}

/** What is there now, or why it is not. */
async function transferFound(
  found: Found,
  transfer: Transfer,
  ledger: Ledger,
): Promise<Streamed | 'changed' | 'noRanges'> {
  const { file, onWritten } = transfer;
  const { version } = found;
  switch (found.kind) {
    case 'whole':
      await file.write(found.bytes, 0);
      onWritten([0, found.bytes.length]);
      return { bytes: found.bytes.length, version };
    case 'ranged': {
      await file.write(found.head, 0);
      onWritten([0, found.head.length]);
      const end = await transferRanges(transfer, missingRanges(ledger.done(), found.size));
      return end === 'done' ? { bytes: found.size, version } : end;
    }
    case 'stream':
      return transferStream(transfer, found.exact ? found.size : undefined);
    default:
      return found satisfies never;
  }
}

/** What is longer or shorter than it must be need not be fetched. */
function checkSize(url: URL, found: Found, expected: Expected): void {
  const size = found.kind === 'whole' ? found.bytes.length : found.kind === 'ranged' ? found.size : undefined;
  const problem = size === undefined ? undefined : mismatch(url, expected, { bytes: size });
  if (problem !== undefined) throw problem;
}

const OTHER_FILE =
  'It is another file than the one that was described, or it was damaged on the way. Check the address and the hash.';

/** What a file is that is not what was expected, as far as it is known. */
function mismatch(url: URL, expected: Expected, { bytes, sha256 }: Expected): DarkroomError | undefined {
  const error = (what: string): DarkroomError =>
    fail('hashMismatch', `${publicUrl(url)} ${what}`, { hint: OTHER_FILE });
  if (expected.bytes !== undefined && bytes !== expected.bytes) {
    return error(`has ${bytes} bytes; ${expected.bytes} were expected.`);
  }
  if (expected.sha256 === undefined || sha256 === undefined || sha256 === expected.sha256) return undefined;
  return error(`arrived with SHA-256 ${sha256}; ${expected.sha256} was expected.`);
}
