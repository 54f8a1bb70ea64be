/** @file The first request for a file: whether it is there, how long it is, which version, and its first bytes. */
import {
  bodyLength,
  fetchLength,
  isEmptyFile,
  isPage,
  isPlainPart,
  parseContentRange,
  rangeHeader,
  refuseStatus,
  send,
  withRetries,
  type Call,
  type Incoming,
} from '../http.js';
import { PassingFailure } from '../retry.js';
import { concatBytes } from './bytes.js';
import { versionOf, type FileVersion } from './version.js';

/** What the first answer says of a file. */
export interface FileFacts {
  readonly version: FileVersion;
  /** The address will never mean other bytes (`Cache-Control: immutable`, RFC 8246). */
  readonly immutable: boolean;
  /** A page came in the place of a file. */
  readonly page: boolean;
  /** The hash and length that a server of Git LFS says (`X-Linked-ETag`, `X-Linked-Size`), where the page may see them. */
  readonly linked: { readonly sha256?: string; readonly size?: number };
}

export type Probe =
  | { readonly kind: 'absent' }
  /** It is short, and this is all of it. */
  | ({ readonly kind: 'whole'; readonly bytes: Uint8Array<ArrayBuffer> } & FileFacts)
  /** It can be had in pieces; `head` is the first. */
  | ({ readonly kind: 'ranged'; readonly size: number; readonly head: Uint8Array<ArrayBuffer> } & FileFacts)
  /** It can only be had from beginning to end. `exact`: its size is that of the file for certain, not of a compressed body. */
  | ({ readonly kind: 'stream'; readonly size: number | undefined; readonly exact: boolean } & FileFacts);

/**
 * Asks for the first `headBytes` bytes.
 * @throws downloadFailed after the last try, accessDenied, aborted
 */
export function probe(call: Call, headBytes: number): Promise<Probe> {
  return withRetries(call, async () => {
    const incoming = await send(call, { headers: rangeHeader(0, headBytes), cache: 'no-store' });
    switch (incoming.status) {
      case 206:
        return readPart(call, incoming, headBytes);
      case 200:
        return readWhole(incoming, headBytes);
      case 416: // nothing at byte 0
        incoming.cancel();
        return isEmptyFile(incoming.headers)
          ? { kind: 'whole', bytes: new Uint8Array(0), ...factsOf(incoming.headers, 0) }
          : { kind: 'stream', size: undefined, exact: false, ...factsOf(new Headers(), undefined) };
      case 404:
      case 410:
        incoming.cancel();
        return { kind: 'absent' };
      default:
        return refuseStatus(call, incoming);
    }
  });
}

async function readPart(call: Call, incoming: Incoming, headBytes: number): Promise<Probe> {
  const { headers } = incoming;
  const range = parseContentRange(headers);
  if (!isPlainPart(headers) || (range !== undefined && range.start !== 0)) {
    incoming.cancel(); // of another place
    return { kind: 'stream', size: undefined, exact: false, ...factsOf(headers, undefined) };
  }
  const head = await readHead(incoming, headBytes);
  // a shorter answer than asked for is the whole file; Content-Range may be hidden from a page of another origin
  const size = range?.total ?? (head.length < headBytes ? head.length : await fetchLength(call));
  const facts = factsOf(headers, size);
  if (size === undefined) return { kind: 'stream', size, exact: false, ...facts };
  if (head.length === 0 && size > 0) throw new PassingFailure('the answer is empty');
  return head.length >= size
    ? { kind: 'whole', bytes: head.slice(0, size), ...facts }
    : { kind: 'ranged', size, head, ...facts };
}

async function readWhole(incoming: Incoming, headBytes: number): Promise<Probe> {
  const { headers } = incoming;
  const size = bodyLength(headers);
  const head = await readHead(incoming, headBytes + 1);
  if (head.length > headBytes) return { kind: 'stream', size, exact: false, ...factsOf(headers, size) };
  if (size !== undefined && head.length < size) throw shortBody(head.length, size);
  return { kind: 'whole', bytes: head, ...factsOf(headers, head.length) };
}

/** The error for a body that ended before its announced end. */
export function shortBody(got: number, announced: number): PassingFailure {
  return new PassingFailure(`the server sent ${got} of the ${announced} bytes it announced`);
}

/** Up to `limit` bytes of the body; the rest is thrown away. */
async function readHead(incoming: Incoming, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const piece of incoming.pieces()) {
    parts.push(piece);
    length += piece.length;
    if (length >= limit) break;
  }
  return concatBytes(parts).slice(0, limit);
}

function factsOf(headers: Headers, size: number | undefined): FileFacts {
  const linkedHash = /^(?:W\/)?"?([0-9a-f]{64})"?$/i.exec(headers.get('x-linked-etag') ?? '')?.[1];
  const linkedSize = /^\d{1,15}$/.exec(headers.get('x-linked-size') ?? '')?.[0];
  return {
    version: versionOf(headers, size),
    immutable: /\bimmutable\b/i.test(headers.get('cache-control') ?? ''),
    page: isPage(headers),
    linked: {
      ...(linkedHash === undefined ? {} : { sha256: linkedHash.toLowerCase() }),
      ...(linkedSize === undefined ? {} : { size: Number(linkedSize) }),
    },
  };
}
