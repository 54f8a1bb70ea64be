/**
 * @file Bytes from a server into a file: in ranges, several at a time, or as one stream. What was written stays written when a connection
 * tears; which version the bytes are of is looked at before any of them is taken.
 *
 * There is no `If-Range`: to another origin it would need a CORS preflight, which file servers refuse. Every answer is compared with the
 * first one instead, which says the same.
 */
import { throwIfAborted } from '../../base/errors.js';
import {
  bodyLength,
  downloadFailed,
  isPage,
  isPlainPart,
  parseContentRange,
  rangeHeader,
  refuseStatus,
  send,
  type Call,
  type Incoming,
} from '../http.js';
import { PassingFailure, waitAfter, waitFor } from '../retry.js';
import type { DiskFile } from '../store/disk.js';
import { shortBody } from './probe.js';
import { cutRanges, type Range } from './ranges.js';
import { createSha256, type Sha256 } from './sha256.js';
import { agrees, versionOf, type FileVersion } from './version.js';

/** How hard a download tries. */
export interface Tuning {
  /** Bytes of one request; default 16 MiB. */
  readonly chunkBytes: number;
  /** Requests at a time; default 4. Browsers make at most 6 to one host. */
  readonly parallel: number;
  /** Failures in a row, without a byte between them, that end it; default 6 (half a minute). */
  readonly tries: number;
  /** What has arrived is noted after so many bytes, or milliseconds; defaults 16 MiB, 3 s. */
  readonly saveBytes: number;
  readonly saveMs: number;
  /** SHA-256; default our own, for want of one in browsers that takes a file in pieces. Outside them the system's is faster. */
  readonly createHash: () => Sha256;
}

export const DEFAULT_TUNING: Tuning = {
  chunkBytes: 16 << 20,
  parallel: 4,
  tries: 6,
  saveBytes: 16 << 20,
  saveMs: 3000,
  createHash: createSha256,
};

export interface Transfer {
  readonly call: Call;
  readonly file: Pick<DiskFile, 'write'>;
  /** What every answer must agree with. */
  readonly version: FileVersion;
  /** Whether the file itself is a page. */
  readonly page: boolean;
  readonly tuning: Tuning;
  /** These bytes were written. May throw, which ends the transfer. */
  readonly onWritten: (range: Range) => void;
  /** Forgets all that was written: a stream begins again. */
  readonly restart: () => Promise<void>;
}

/** `changed`: the server has another version now. `noRanges`: its ranges cannot be relied on. */
export type TransferEnd = 'done' | 'changed' | 'noRanges';

/** Fetches `missing`, {@link Tuning.parallel} chunks at a time. @throws downloadFailed, accessDenied, aborted, and what the disk throws */
export async function transferRanges(transfer: Transfer, missing: readonly Range[]): Promise<TransferEnd> {
  const { call, tuning } = transfer;
  const stop = new AbortController();
  const { signal } = stop;
  const abort = (): void => stop.abort();
  call.signal?.addEventListener('abort', abort);
  const stoppable = { ...transfer, call: { ...call, signal } };
  const queue = [...cutRanges(missing, tuning.chunkBytes)];
  let end: TransferEnd = 'done';
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let chunk = queue.shift(); chunk !== undefined && !signal.aborted; chunk = queue.shift()) {
      try {
        const chunkEnd = await fetchChunk(stoppable, chunk);
        if (chunkEnd === 'done') continue;
        end = chunkEnd;
      } catch (error) {
        failure ??= { error }; // what the others throw when they are stopped comes later
      }
      stop.abort();
    }
  };
  throwIfAborted(call.signal);
  await Promise.all(Array.from({ length: Math.min(tuning.parallel, queue.length) }, worker));
  call.signal?.removeEventListener('abort', abort);
  throwIfAborted(call.signal);
  // the chunk that ended it stops the others, whose `aborted` is no failure
  if (end === 'done' && failure !== undefined) throw failure.error;
  return end;
}

async function fetchChunk(transfer: Transfer, [start, end]: Range): Promise<TransferEnd> {
  const { call, tuning } = transfer;
  let at = start;
  let failures = 0;
  while (at < end) {
    const before = at;
    try {
      const outcome = await receive(transfer, [at, end], (bytes) => (at += bytes));
      if (outcome !== 'done') return outcome;
    } catch (error) {
      failures = at > before ? 1 : failures + 1;
      await passOrThrow(error, call, tuning, failures);
    }
  }
  return 'done';
}

/** Waits before the next try. @throws downloadFailed after too many, or the error itself where trying again is of no use */
async function passOrThrow(
  error: unknown,
  { url, deps, signal }: Call,
  tuning: Tuning,
  failures: number,
): Promise<void> {
  if (!(error instanceof PassingFailure)) throw error;
  if (failures >= tuning.tries) throw downloadFailed(url, `${error.message} (after ${failures} tries)`);
  await waitFor(waitAfter(failures, deps, error.retryAfterMs), deps, signal);
}

/** One request for a range, or for the part of it that the server cares to give. */
async function receive(
  { call, file, version, page, onWritten }: Transfer,
  [start, end]: Range,
  advance: (bytes: number) => void,
): Promise<TransferEnd> {
  const incoming = await send(call, { headers: rangeHeader(start, end), cache: 'no-store' });
  if (!page) refusePage(incoming);
  const outcome = judge(call, incoming, [start, end], version);
  if (outcome !== 'done') return outcome;
  let at = start;
  for await (const piece of incoming.pieces()) {
    if (at + piece.length > end) return 'noRanges'; // more than asked for: what was it that came?
    await file.write(piece, at);
    onWritten([at, at + piece.length]);
    at += piece.length;
    advance(piece.length);
  }
  if (at === start) throw new PassingFailure('the answer is empty');
  return 'done';
}

/** A network that wants a login answers in the place of the server, until somebody logs in. @throws PassingFailure */
function refusePage(incoming: Incoming): void {
  if (!isPage(incoming.headers) || incoming.status >= 400) return;
  incoming.cancel();
  throw new PassingFailure('a page came in the place of the file, as from networks that want a login');
}

/** Looks at an answer before its body is read; cancels it unless it is `done`. */
function judge(call: Call, incoming: Incoming, [start, end]: Range, version: FileVersion): TransferEnd {
  const { status, headers } = incoming;
  if (status !== 206 && status !== 200 && status !== 416) return refuseStatus(call, incoming);
  const range = parseContentRange(headers);
  const same = agrees(version, versionOf(headers, status === 206 ? range?.total : bodyLength(headers)));
  const length = bodyLength(headers) ?? 0;
  const fits = (range === undefined || range.start === start) && length <= end - start;
  if (status === 206 && same && fits && isPlainPart(headers)) return 'done';
  incoming.cancel();
  return same && status !== 416 ? 'noRanges' : 'changed';
}

/** What came as one stream: of one version, whichever it is. */
export interface Streamed {
  readonly bytes: number;
  readonly version: FileVersion;
}

/**
 * Fetches a whole file from its beginning, again after each failure.
 * @param size what the length of the expected version must be, where that is certain
 * @throws as {@link transferRanges}
 */
export async function transferStream(transfer: Transfer, size: number | undefined): Promise<Streamed | 'noRanges'> {
  const { call, tuning, restart } = transfer;
  for (let failures = 1; ; failures++) {
    try {
      return await receiveAll(transfer, size);
    } catch (error) {
      await passOrThrow(error, call, tuning, failures);
      await restart();
    }
  }
}

async function receiveAll(
  { call, file, version: expected, page, onWritten }: Transfer,
  size: number | undefined,
): Promise<Streamed | 'noRanges'> {
  const incoming = await requestAll(call);
  if (!page) refusePage(incoming);
  const { headers } = incoming;
  const range = parseContentRange(headers);
  if ((range?.start ?? 0) !== 0) {
    incoming.cancel();
    return 'noRanges';
  }
  const version = versionOf(headers, range?.total ?? bodyLength(headers));
  let at = 0;
  for await (const piece of incoming.pieces()) {
    await file.write(piece, at);
    onWritten([at, at + piece.length]);
    at += piece.length;
  }
  // longer than announced is what a compressed body is whose encoding is hidden from this page
  const length = bodyLength(headers);
  if (length !== undefined && at < length) throw shortBody(at, length);
  const exact = range?.total ?? (agrees(expected, versionOf(headers, undefined)) ? size : undefined);
  if (exact !== undefined && at !== exact) throw shortBody(at, exact);
  return { bytes: at, version };
}

/**
 * Asks for everything. As a range, since then nobody compresses it and its length is that of the file; but a part whose end cannot be
 * seen may be any part.
 */
async function requestAll(call: Call): Promise<Incoming> {
  const ranged = await send(call, { headers: rangeHeader(0), cache: 'no-store' });
  if (ranged.status === 200) return ranged;
  if (ranged.status !== 206 && ranged.status !== 416) return refuseStatus(call, ranged);
  const { headers, status } = ranged;
  if (status === 206 && parseContentRange(headers)?.total !== undefined && isPlainPart(headers)) return ranged;
  ranged.cancel();
  const plain = await send(call, { cache: 'no-store' });
  return plain.status === 200 ? plain : refuseStatus(call, plain);
}
