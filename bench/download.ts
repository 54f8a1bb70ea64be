/**
 * @file `npm run bench -- download [--gigabytes 4.5]`: a large file from a server of this machine into the store of Chromium, on the disk, with its hash. In the
 * middle the worker is killed, and another goes on. How fast, what JavaScript holds at most, and whether what lies beyond 4 GiB is what was sent.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { DownloadBench } from './download-page.js';
import type { Downloaded } from './download-worker.js';
import { watchHeap } from './heap.js';
import { openUNetBench, type UNetBench } from './unet-bench.js';

export interface DownloadBenchOptions {
  readonly gigabytes?: string | undefined;
}

/** Blocks differ in their first bytes, which say which one it is. */
const BLOCK = randomBytes(1 << 16);
const NUMBER_BYTES = 8;
const FILE = 'large.bin';
/** Of the file, when the worker is killed. */
const KILLED_AT = 0.4;
const LOOK_EVERY_MS = 100;

export async function benchDownload({ gigabytes = '4.5' }: DownloadBenchOptions): Promise<readonly string[]> {
  const bytes = Math.ceil((Number(gigabytes) * 1e9) / BLOCK.length) * BLOCK.length;
  const server = await serveBlocks(bytes);
  const bench = await openUNetBench('/bench/download-page.ts', 'openDownloadBench', {});
  try {
    const first = await killed(bench, server.folder, KILLED_AT * bytes);
    const sentBefore = server.sent();
    const { result, heapBytes } = await watchHeap(bench.heap, () =>
      call<Downloaded>(bench, 'download', server.folder, FILE),
    );
    const again = server.sent() - sentBefore;
    const wrong = await wrongBlocks(bench, bytes);
    return [
      `${gb(bytes)}: killed when ${gb(first.arrived)} had come, after ${(first.ms / 1000).toFixed(0)} s`,
      `resumed at ${gb(result.resumedBytes)}: ${gb(again)} in ${(result.ms / 1000).toFixed(0)} s with the hash of the whole, ${(again / 1e3 / result.ms).toFixed(0)} MB/s; at most ${(heapBytes / 1e6).toFixed(0)} MB in JavaScript`,
      wrong.length === 0 && result.bytes === bytes
        ? 'every block that was read back is right'
        : `WRONG: ${wrong.join()}`,
    ];
  } finally {
    await bench.close();
    await server.close();
  }
}

async function killed(
  bench: UNetBench,
  folder: string,
  bytes: number,
): Promise<{ readonly arrived: number; readonly ms: number }> {
  const start = performance.now();
  call(bench, 'download', folder, FILE).catch(() => undefined); // it never ends
  for (;;) {
    const arrived = await call<number>(bench, 'arrived');
    if (arrived >= bytes) {
      await call(bench, 'kill');
      return { arrived, ms: performance.now() - start };
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** Blocks here and there, at the kill, around 2 and 4 GiB, and the last, that are not what was sent. */
async function wrongBlocks(bench: UNetBench, bytes: number): Promise<readonly number[]> {
  const last = bytes / BLOCK.length - 1;
  const edges = [2 ** 31, 2 ** 32].map((at) => at / BLOCK.length).flatMap((block) => [block - 1, block, block + 1]);
  const spread = Array.from({ length: 64 }, (_, i) => Math.round((i * last) / 63));
  const wrong: number[] = [];
  for (const block of [...edges, ...spread].filter((number) => number <= last)) {
    const got = await call<readonly number[]>(bench, 'read', block * BLOCK.length, (block + 1) * BLOCK.length);
    if (!Buffer.from(got).equals(blockOf(block))) wrong.push(block);
  }
  return wrong;
}

function blockOf(number: number): Buffer<ArrayBuffer> {
  const block = Buffer.from(BLOCK);
  block.writeBigUInt64LE(BigInt(number));
  return block;
}

/** A server of one file, by ranges, that says its hash as the Hub does. */
async function serveBlocks(bytes: number) {
  const hash = createHash('sha256');
  for (let block = 0; block < bytes / BLOCK.length; block++)
    hash.update(numberOf(block)).update(BLOCK.subarray(NUMBER_BYTES));
  const etag = `"${hash.digest('hex')}"`;
  let sent = 0;
  const answer = async (range: string | undefined, method: string | undefined, response: ServerResponse) => {
    const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
    const start = Number(from);
    const end = Math.min(bytes, to === '' ? bytes : Number(to) + 1);
    response.writeHead(range === undefined ? 200 : 206, {
      'Access-Control-Allow-Origin': '*',
      'Access-Control-Allow-Headers': '*',
      'Access-Control-Expose-Headers': '*',
      'Accept-Ranges': 'bytes',
      'Content-Length': end - start,
      'Content-Type': 'application/octet-stream',
      ETag: etag,
      'X-Linked-ETag': etag,
      ...(range === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${bytes}` }),
    });
    if (method !== 'GET') return void response.end();
    const counted = function* (): Generator<Buffer> {
      for (const piece of pieces(start, end)) {
        sent += piece.length;
        yield piece;
      }
    };
    await pipeline(counted, response);
  };
  const server = createServer((request, response) => {
    if (request.url?.endsWith(FILE) !== true) response.writeHead(404, { 'Access-Control-Allow-Origin': '*' }).end();
    else answer(request.headers.range, request.method, response).catch(() => undefined); // who asked has gone
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on a port
  return {
    folder: `http://127.0.0.1:${port}/model/`,
    /** Bytes that were asked for and sent, up to now. */
    sent: () => sent,
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function numberOf(block: number): Buffer {
  const number = Buffer.alloc(NUMBER_BYTES);
  number.writeBigUInt64LE(BigInt(block));
  return number;
}

function* pieces(start: number, end: number): Generator<Buffer> {
  for (let at = start; at < end;) {
    const number = Math.floor(at / BLOCK.length);
    const from = at - number * BLOCK.length;
    const piece = blockOf(number).subarray(from, Math.min(BLOCK.length, from + end - at));
    yield piece;
    at += piece.length;
  }
}

function call<T>(bench: UNetBench, method: keyof DownloadBench, ...args: readonly unknown[]): Promise<T> {
  return bench.call<T>(method, ...args);
}

function gb(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
