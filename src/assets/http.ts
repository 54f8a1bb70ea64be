/** @file HTTP for model files: requests whose silence ends, byte ranges with retries, typed errors, and no secret in a message. */
import { fail, throwIfAborted, type DarkroomError } from '../base/errors.js';
import { authorizationFor, type Authorization } from './authorization.js';
import { parseRetryAfter, PassingFailure, waitAfter, waitFor, type Clock } from './retry.js';
import type { OnBytes } from './source.js';

/** What HTTP needs from the outside. */
export interface HttpDeps extends Clock {
  readonly fetch: typeof fetch;
  readonly authorization?: Authorization;
  /** A request that brings nothing for this long has failed; default 30,000. */
  readonly stallMs?: number;
}

/** Tries of one request for a byte range. */
const TRIES = 3;
const STALL_MS = 30_000;

export interface Call {
  readonly deps: HttpDeps;
  readonly url: URL;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/** An answer whose body is still to come. */
export interface Incoming {
  readonly status: number;
  readonly headers: Headers;
  /** The body, piece by piece. Stopping early cancels the rest. @throws PassingFailure when it is torn or stalls, aborted */
  readonly pieces: () => AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>;
  /** Throws the body away. */
  readonly cancel: () => void;
}

/**
 * Sends a request. The answer must be read to its end or cancelled.
 * @throws PassingFailure when there is no answer, aborted
 */
export async function send({ deps, url, signal }: Call, init: RequestInit = {}): Promise<Incoming> {
  throwIfAborted(signal);
  const silence = watchSilence(deps.stallMs ?? STALL_MS, signal);
  /** What went wrong, as our own error. */
  const explain = (error: unknown): Error => {
    silence.stop();
    if (signal?.aborted === true) return fail('aborted', 'The task was aborted.');
    if (silence.signal.aborted) return new PassingFailure(`nothing came for ${(deps.stallMs ?? STALL_MS) / 1000} s`);
    return new PassingFailure(describeFailure(error, url));
  };
  const { fetch } = deps; // browsers refuse it as a method of another object
  const answer = authorized(deps, url, init).then((ready) => fetch(url, { ...ready, signal: silence.signal }));
  const response = await orEnd(answer, silence.signal).catch((error: unknown) => {
    throw explain(error);
  });
  silence.pause();
  return {
    status: response.status,
    headers: response.headers,
    async *pieces() {
      const reader = response.body?.getReader();
      try {
        for (;;) {
          silence.touch();
          const next = await orEnd(reader?.read() ?? Promise.resolve(undefined), silence.signal).catch(
            (error: unknown) => {
              throw explain(error);
            },
          );
          silence.pause(); // whoever takes the piece may take its time
          if (next?.value === undefined) return;
          yield next.value;
        }
      } finally {
        silence.stop();
        reader?.cancel().catch(() => undefined); // torn already
      }
    },
    cancel() {
      silence.stop();
      response.body?.cancel().catch(() => undefined);
    },
  };
}

/** `work`, or an error when `signal` fires: a `fetch` that is aborted may stay silent for ever (seen in Node 20). */
function orEnd<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = (): void => reject(new Error('aborted'));
    if (signal.aborted) end();
    signal.addEventListener('abort', end);
    const done = (): void => signal.removeEventListener('abort', end);
    work.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}

async function authorized({ authorization }: HttpDeps, url: URL, init: RequestInit): Promise<RequestInit> {
  const value = await authorizationFor(authorization, url);
  if (value === undefined) return init;
  const headers = new Headers(init.headers);
  headers.set('Authorization', value);
  return { ...init, headers };
}

/** A signal that fires with `outer`, or `ms` milliseconds after the beginning or the last `touch`, unless paused by then. */
function watchSilence(
  ms: number,
  outer: AbortSignal | undefined,
): { readonly signal: AbortSignal; touch(): void; pause(): void; stop(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  let timer = setTimeout(abort, ms);
  outer?.addEventListener('abort', abort);
  return {
    signal: controller.signal,
    touch() {
      clearTimeout(timer);
      timer = setTimeout(abort, ms);
    },
    pause: () => clearTimeout(timer),
    stop() {
      clearTimeout(timer);
      outer?.removeEventListener('abort', abort);
    },
  };
}

/** The reason that `fetch` gave, and what is behind it in Node; a URL in it loses its query. */
function describeFailure(error: unknown, url: URL): string {
  if (!(error instanceof Error)) return String(error);
  const behind = error.cause instanceof Error && error.cause.message !== '' ? ` (${error.cause.message})` : '';
  return `${error.message}${behind}`.replaceAll(url.href, publicUrl(url));
}

/** What a server answers to a request for a byte range. */
export type RangeAnswer =
  | { readonly kind: 'absent' }
  /** `total` = length of the whole file, where the server says it (and lets a page of another origin see it). */
  | { readonly kind: 'part'; readonly bytes: Uint8Array<ArrayBuffer>; readonly total?: number; readonly etag?: string }
  /** The server does not do ranges, and sent everything. */
  | { readonly kind: 'whole'; readonly blob: Blob };

/**
 * Asks for bytes `start` (inclusive) to `end` (exclusive). A file that ends before `end` gives a shorter part.
 * @throws downloadFailed after the last try, accessDenied, aborted
 */
export function fetchRange(call: Call, start: number, end: number): Promise<RangeAnswer> {
  return withRetries(call, async (onBytes) => {
    const incoming = await send(call, { headers: rangeHeader(start, end) });
    switch (incoming.status) {
      case 206:
        if (isPlainPart(incoming.headers)) return readPart(incoming, start, end, onBytes);
        incoming.cancel();
        return { kind: 'whole', blob: await requestWhole(call, onBytes) };
      case 200:
        return { kind: 'whole', blob: await readBlob(incoming, onBytes) };
      case 416: // nothing at `start`: the file is empty, or has shrunk
        incoming.cancel();
        if (start > 0 || isEmptyFile(incoming.headers)) return { kind: 'part', bytes: new Uint8Array(0), total: start };
        return { kind: 'whole', blob: await requestWhole(call, onBytes) };
      case 404:
      case 410:
        incoming.cancel();
        return { kind: 'absent' };
      default:
        return refuseStatus(call, incoming);
    }
  });
}

/** `end` absent: to the end of the file. With this header browsers also ask for no compression. */
export function rangeHeader(start: number, end?: number): { readonly Range: string } {
  return { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
}

/** A file's length by HEAD; `undefined` where the server does not tell. @throws downloadFailed, aborted */
export function fetchLength(call: Call): Promise<number | undefined> {
  return withRetries(call, async () => {
    const incoming = await send(call, { method: 'HEAD' });
    incoming.cancel();
    return incoming.status >= 200 && incoming.status < 300 ? bodyLength(incoming.headers) : undefined;
  });
}

/** The length of the body as it will be read: that of compressed content is not known. */
export function bodyLength(headers: Headers): number | undefined {
  const length = headers.get('content-length') ?? '';
  return /^\d+$/.test(length) && !headers.has('content-encoding') ? Number(length) : undefined;
}

/** Whether a part (206) is of the file itself: not of a compressed form of it, nor of several parts with lines between them (RFC 9110 §14.6). */
export function isPlainPart(headers: Headers): boolean {
  return !headers.has('content-encoding') && !/^multipart\//i.test(headers.get('content-type') ?? '');
}

/** Whether it comes as HTML, which no file of a model is: a login, say, or what many servers answer, with status 200, for a missing file. */
export function isPage(headers: Headers): boolean {
  return /^text\/html\b/i.test(headers.get('content-type') ?? '');
}

/** Whether an answer that there is no byte 0 (416) says that the file is empty; some servers refuse any range, or one that is longer than the file. */
export function isEmptyFile(headers: Headers): boolean {
  return /^bytes \*\/0+$/.test(headers.get('content-range') ?? '');
}

/** The whole file. @throws downloadFailed, accessDenied, aborted */
export function fetchWhole(call: Call): Promise<Blob> {
  return withRetries(call, (onBytes) => requestWhole(call, onBytes));
}

async function requestWhole(call: Call, onBytes: OnBytes): Promise<Blob> {
  const incoming = await send(call);
  return incoming.status === 200 ? readBlob(incoming, onBytes) : refuseStatus(call, incoming);
}

/** For messages: without user, password, query and fragment. */
export function publicUrl(url: URL): string {
  return url.protocol === 'data:' ? 'data:…' : `${url.origin}${url.pathname}`;
}

/** `Content-Range` of a part (RFC 9110 §14.4); `total` absent where it is `*`. */
export function parseContentRange(headers: Headers): { readonly start: number; readonly total?: number } | undefined {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
  if (start === undefined) return undefined;
  return { start: Number(start), ...(total === undefined || total === '*' ? {} : { total: Number(total) }) };
}

async function readPart(incoming: Incoming, start: number, end: number, onBytes: OnBytes): Promise<RangeAnswer> {
  const range = parseContentRange(incoming.headers);
  if (range !== undefined && range.start !== start) {
    incoming.cancel();
    throw new PassingFailure(`the answer begins at byte ${range.start}, not ${start}`);
  }
  const blob = await readBlob(incoming, onBytes, end - start);
  const etag = incoming.headers.get('etag');
  return {
    kind: 'part',
    bytes: new Uint8Array(await blob.arrayBuffer()),
    ...(range?.total === undefined ? {} : { total: range.total }),
    ...(etag === null ? {} : { etag }),
  };
}

/** Bytes held as arrays before they are handed to a Blob, which browsers keep outside the heap, and on disk when large. */
const FOLD_BYTES = 16 << 20;

/** The body as a Blob; throws when it is longer than `limitBytes`. */
async function readBlob(incoming: Incoming, onBytes: OnBytes, limitBytes = Infinity): Promise<Blob> {
  const folded: Blob[] = [];
  let chunks: Uint8Array<ArrayBuffer>[] = [];
  let held = 0;
  let all = 0;
  for await (const piece of incoming.pieces()) {
    chunks.push(piece);
    held += piece.length;
    all += piece.length;
    onBytes(piece.length);
    if (all > limitBytes) throw new PassingFailure(`the answer is longer than the ${limitBytes} bytes asked for`);
    if (held >= FOLD_BYTES) {
      folded.push(new Blob(chunks));
      chunks = [];
      held = 0;
    }
  }
  return new Blob([...folded, ...chunks]);
}

/**
 * Ends an answer that is no success. 408, 429 and 5xx pass with time; the rest does not.
 * @throws PassingFailure, accessDenied (401, 403), downloadFailed
 */
export function refuseStatus({ url, deps }: Call, incoming: Incoming): never {
  incoming.cancel();
  const { status, headers } = incoming;
  if (status === 408 || status === 429 || status >= 500) {
    throw new PassingFailure(
      `the server answered ${status}`,
      parseRetryAfter(headers.get('retry-after'), (deps.now ?? Date.now)()),
    );
  }
  if (status === 401 || status === 403) throw accessDenied(url, headers, status);
  throw downloadFailed(url, `the server answered ${status}`);
}

/**
 * Runs `attempt` up to {@link TRIES} times while it ends in a `PassingFailure`; anything else is final.
 * Bytes that a failed attempt had reported are taken back.
 */
export async function withRetries<T>(call: Call, attempt: (onBytes: OnBytes) => Promise<T>): Promise<T> {
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
      if (!(error instanceof PassingFailure)) throw error;
      if (tried === TRIES) throw downloadFailed(url, `${error.message} (after ${TRIES} tries)`);
      await waitFor(waitAfter(tried, deps, error.retryAfterMs), deps, signal);
    }
  }
}

/** The error for a file that cannot be had from the network. */
export function downloadFailed(url: URL, reason: string): DarkroomError {
  return fail('downloadFailed', `${publicUrl(url)} could not be downloaded: ${reason}.`, {
    hint: 'Check the address and the connection; another site must also allow this page to read it (CORS).',
  });
}

/** The error for a file that this visitor may not have. The Hub says why in `X-Error-Code` (`GatedRepo`, `RepoNotFound`, …). */
function accessDenied(url: URL, headers: Headers, status: number): DarkroomError {
  const why = /^\w{1,40}$/.exec(headers.get('x-error-code') ?? '')?.[0];
  return fail(
    'accessDenied',
    `${publicUrl(url)} may not be read: the server answered ${status}${why ? ` (${why})` : ''}.`,
    {
      hint:
        `Accept the model's terms on its page where it has some, and give a token for its host: ` +
        `authorization: { '${url.host}': 'Bearer …' }.`,
    },
  );
}
