/** @file HTTP for model files: byte ranges with retries, one typed error, and no query or password in a message. */
import { DarkroomError, fail, throwIfAborted } from '../base/errors.js';
import type { OnBytes } from './source.js';

/** What HTTP needs from the outside. */
export interface HttpDeps {
  readonly fetch: typeof fetch;
  /** Waits `ms` milliseconds; may return early when `signal` fires. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** Tries of one request, and the wait before the second in milliseconds (it doubles). */
const TRIES = 3;
const FIRST_WAIT_MS = 500;

/** What a server answers to a request for a byte range. */
export type RangeAnswer =
  | { readonly kind: 'absent' }
  /** `total` = length of the whole file, where the server says it (and lets a page of another origin see it). */
  | { readonly kind: 'part'; readonly bytes: Uint8Array<ArrayBuffer>; readonly total?: number; readonly etag?: string }
  /** The server does not do ranges, and sent everything. */
  | { readonly kind: 'whole'; readonly blob: Blob };

export interface Call {
  readonly deps: HttpDeps;
  readonly url: URL;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/**
 * Asks for bytes `start` (inclusive) to `end` (exclusive). A file that ends before `end` gives a shorter part.
 * @throws downloadFailed after the last try, aborted
 */
export function fetchRange(call: Call, start: number, end: number): Promise<RangeAnswer> {
  return withRetries(call, async (onBytes) => {
    const response = await send(call, { headers: { Range: `bytes=${start}-${end - 1}` } });
    switch (response.status) {
      case 206:
        return readPart(response, start, end, onBytes);
      case 200:
        return { kind: 'whole', blob: await readBlob(response, onBytes) };
      case 416: // nothing at `start`: the file is empty, or has shrunk
        await response.body?.cancel();
        return { kind: 'part', bytes: new Uint8Array(0), total: start };
      case 404:
      case 410:
        await response.body?.cancel();
        return { kind: 'absent' };
      default:
        return refuseStatus(call.url, response);
    }
  });
}

/** A file's length by HEAD; `undefined` where the server does not tell. @throws downloadFailed, aborted */
export function fetchLength(call: Call): Promise<number | undefined> {
  return withRetries(call, async () => {
    const response = await send(call, { method: 'HEAD' });
    const length = response.headers.get('content-length') ?? '';
    // the length of compressed content is not that of the file
    return response.ok && /^\d+$/.test(length) && !response.headers.has('content-encoding')
      ? Number(length)
      : undefined;
  });
}

/** The whole file. @throws downloadFailed, aborted */
export function fetchWhole(call: Call): Promise<Blob> {
  return withRetries(call, async (onBytes) => {
    const response = await send(call, {});
    return response.status === 200 ? readBlob(response, onBytes) : refuseStatus(call.url, response);
  });
}

/** `fetch` is taken out of `deps` first: browsers refuse it as a method of another object. */
function send({ deps: { fetch }, url, signal }: Call, init: RequestInit): Promise<Response> {
  return fetch(url, { ...init, signal: signal ?? null });
}

/** For messages: without user, password, query and fragment. */
export function publicUrl(url: URL): string {
  return url.protocol === 'data:' ? 'data:…' : `${url.origin}${url.pathname}`;
}

async function readPart(response: Response, start: number, end: number, onBytes: OnBytes): Promise<RangeAnswer> {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  if (first !== undefined && Number(first) !== start)
    throw new Error(`the answer begins at byte ${first}, not ${start}`);
  const blob = await readBlob(response, onBytes, end - start);
  const etag = response.headers.get('etag');
  return {
    kind: 'part',
    bytes: new Uint8Array(await blob.arrayBuffer()),
    ...(total === undefined || total === '*' ? {} : { total: Number(total) }),
    ...(etag === null ? {} : { etag }),
  };
}

/** Bytes held as arrays before they are handed to a Blob, which browsers keep outside the heap, and on disk when large. */
const FOLD_BYTES = 16 << 20;

/** The body as a Blob; throws when it is longer than `limitBytes`. */
async function readBlob(response: Response, onBytes: OnBytes, limitBytes = Infinity): Promise<Blob> {
  const reader = response.body?.getReader();
  const folded: Blob[] = [];
  let chunks: Uint8Array<ArrayBuffer>[] = [];
  let held = 0;
  let all = 0;
  for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) {
    chunks.push(next.value);
    held += next.value.length;
    all += next.value.length;
    onBytes(next.value.length);
    if (all > limitBytes) {
      await reader?.cancel();
      throw new Error(`the answer is longer than the ${limitBytes} bytes asked for`);
    }
    if (held >= FOLD_BYTES) {
      folded.push(new Blob(chunks));
      chunks = [];
      held = 0;
    }
  }
  return new Blob([...folded, ...chunks]);
}

/** 408, 429 and 5xx pass with time and are tried again; the rest does not. */
async function refuseStatus(url: URL, response: Response): Promise<never> {
  await response.body?.cancel();
  const { status, statusText } = response;
  const what = `the server answered ${status}${statusText ? ` ${statusText}` : ''}`;
  if (status === 408 || status === 429 || status >= 500) throw new Error(what);
  throw downloadFailed(url, what, { denied: status === 401 || status === 403 });
}

/**
 * Runs `attempt` up to {@link TRIES} times; a `DarkroomError` from it is final, anything else is worth another try.
 * Bytes that a failed attempt had reported are taken back.
 */
async function withRetries<T>(call: Call, attempt: (onBytes: OnBytes) => Promise<T>): Promise<T> {
  const { signal, url, deps } = call;
  for (let tried = 1; ; tried++) {
    throwIfAborted(signal);
    let reported = 0;
    try {
      return await attempt((bytes) => {
        reported += bytes;
        call.onBytes?.(bytes);
      });
    } catch (error) {
      if (reported > 0) call.onBytes?.(-reported);
      throwIfAborted(signal);
      if (error instanceof DarkroomError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      if (tried === TRIES) throw downloadFailed(url, `${reason} (after ${TRIES} tries)`, { cause: error });
      await (deps.sleep ?? sleep)(FIRST_WAIT_MS * 2 ** (tried - 1), signal);
    }
  }
}

/** The error for a file that cannot be had from the network. */
export function downloadFailed(
  url: URL,
  reason: string,
  { denied = false, cause }: { readonly denied?: boolean; readonly cause?: unknown } = {},
): DarkroomError {
  return fail('downloadFailed', `${publicUrl(url)} could not be downloaded: ${reason}.`, {
    hint: denied
      ? 'This file needs a login or a permission that this page does not have.'
      : 'Check the address and the connection; another site must also allow this page to read it (CORS).',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Waits; wakes early when `signal` fires (the caller checks it). */
function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}
