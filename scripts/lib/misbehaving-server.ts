/** @file A file server with every bad habit a download meets, for the tests and the soak: each request can be answered wrongly in its own way. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** What goes wrong with one answer. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** The connection breaks after so many bytes of the body. */
  | { readonly kind: 'cut'; readonly after: number }
  /** Nothing more comes after so many bytes. */
  | { readonly kind: 'stall'; readonly after: number }
  /** The body is so many bytes too short (negative: too long), and its length is not announced. */
  | { readonly kind: 'short'; readonly by: number }
  /** The range that comes is so many bytes further on. */
  | { readonly kind: 'shifted'; readonly by: number }
  /** A range is answered with at most so many bytes, correctly announced. */
  | { readonly kind: 'less'; readonly bytes: number }
  /** The range lies between lines, as one of several does (`multipart/byteranges`). */
  | { readonly kind: 'multipart' }
  /** The range is ignored: everything comes, with status 200. */
  | { readonly kind: 'whole' }
  /** One byte is wrong. */
  | { readonly kind: 'flip'; readonly at: number };

export interface Asked {
  readonly method: string;
  readonly path: string;
  /** How many requests for this path came before. */
  readonly nth: number;
  readonly range: readonly [start: number, end: number] | undefined;
  readonly headers: IncomingMessage['headers'];
}

export interface ServedFile {
  readonly bytes: Uint8Array;
  readonly etag?: string;
  readonly modified?: string;
  /** Default true. */
  readonly ranges?: boolean;
  /** `Content-Range` and `Content-Length` as sent; `hidden` leaves them out. */
  readonly lengths?: 'told' | 'hidden';
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What goes wrong, if anything. */
  readonly fault?: (asked: Asked) => Fault | undefined;
}

export interface MisbehavingServer {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string;
  readonly files: Map<string, ServedFile>;
  readonly log: Asked[];
  /** Bytes of bodies that were handed to the network. */
  sent(): number;
  close(): Promise<void>;
}

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-headers': 'authorization, content-type',
  'access-control-expose-headers': 'etag, content-range, x-linked-etag, x-linked-size',
};

export async function openMisbehavingServer(): Promise<MisbehavingServer> {
  const files = new Map<string, ServedFile>();
  const counts = new Map<string, number>();
  const log: Asked[] = [];
  let sent = 0;
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*$/, '');
    const nth = counts.get(path) ?? 0;
    if (request.method === 'OPTIONS') return void response.writeHead(204, CORS).end();
    counts.set(path, nth + 1);
    const asked = { method: request.method ?? '', path, nth, range: rangeOf(request), headers: request.headers };
    log.push(asked);
    const file = files.get(path);
    if (file === undefined) return void response.writeHead(404, CORS).end();
    sent += answer(file, asked, response);
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    origin: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    files,
    log,
    sent: () => sent,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function rangeOf({ headers }: IncomingMessage): readonly [number, number] | undefined {
  const [, start, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
  return start === undefined ? undefined : [Number(start), last ? Number(last) + 1 : Infinity];
}

/** @returns how many bytes of a body were sent */
function answer(file: ServedFile, asked: Asked, response: ServerResponse): number {
  const fault = file.fault?.(asked);
  if (fault?.kind === 'status') {
    response.writeHead(fault.status, { ...CORS, ...fault.headers }).end();
    return 0;
  }
  const { bytes } = file;
  const range = file.ranges === false || fault?.kind === 'whole' ? undefined : asked.range;
  const shift = range !== undefined && fault?.kind === 'shifted' ? fault.by : 0;
  const start = Math.min((range?.[0] ?? 0) + shift, bytes.length);
  const limit = range !== undefined && fault?.kind === 'less' ? fault.bytes : Infinity;
  const end = Math.min((range?.[1] ?? Infinity) + shift, bytes.length, start + limit);
  const headers = {
    ...CORS,
    ...(file.etag === undefined ? {} : { etag: file.etag }),
    ...(file.modified === undefined ? {} : { 'last-modified': file.modified }),
    ...file.headers,
  };
  if (range !== undefined && range[0] >= bytes.length) {
    response.writeHead(416, { ...headers, 'content-range': `bytes */${bytes.length}` }).end();
    return 0;
  }
  const enveloped = range !== undefined && fault?.kind === 'multipart';
  const told = file.lengths !== 'hidden' && !enveloped;
  response.writeHead(range === undefined ? 200 : 206, {
    ...headers,
    ...(enveloped ? { 'content-type': 'multipart/byteranges; boundary=x' } : {}),
    ...(told && fault?.kind !== 'short' ? { 'content-length': String(end - start) } : {}),
    ...(told && range !== undefined ? { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` } : {}),
  });
  if (asked.method === 'HEAD') {
    response.end();
    return 0;
  }
  return sendBody(
    bodyOf(bytes, [start, end], range === undefined && fault?.kind === 'multipart' ? undefined : fault),
    response,
    fault,
  );
}

function bodyOf(bytes: Uint8Array, [start, end]: readonly [number, number], fault: Fault | undefined): Uint8Array {
  if (fault?.kind === 'multipart') {
    const head = `--x\r\nContent-Range: bytes ${start}-${end - 1}/${bytes.length}\r\n\r\n`;
    return Buffer.concat([Buffer.from(head), bytes.subarray(start, end), Buffer.from('\r\n--x--\r\n')]);
  }
  if (fault?.kind === 'short') {
    const body = new Uint8Array(Math.max(0, end - start - fault.by));
    body.set(bytes.subarray(start, Math.min(end, start + body.length)));
    return body;
  }
  if (fault?.kind === 'flip') {
    const body = bytes.slice(start, end);
    if (start <= fault.at && fault.at < end) body[fault.at - start] = (body[fault.at - start] ?? 0) ^ 0xff;
    return body;
  }
  const stopsEarly = fault?.kind === 'cut' || fault?.kind === 'stall';
  return bytes.subarray(start, stopsEarly ? Math.min(end, start + fault.after) : end);
}

function sendBody(body: Uint8Array, response: ServerResponse, fault: Fault | undefined): number {
  if (fault?.kind === 'cut') response.write(body, () => setImmediate(() => response.destroy()));
  else if (fault?.kind === 'stall') response.write(body);
  else response.end(body);
  return body.length;
}

/** Bytes whose values tell their place. */
export function patternBytes(length: number, salt = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (Math.imul(i + salt * 7919, 2654435761) >>> 24) & 255);
}
