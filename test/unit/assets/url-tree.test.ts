/** @file The tree over HTTP against a real server with every bad habit: no ranges, hidden headers, torn answers, pages for files, 5xx. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../../src/assets/safetensors.js';
import { readJson } from '../../../src/assets/text-file.js';
import { urlTree } from '../../../src/assets/url-tree.js';
import { float32Bytes, problemOf, safetensors } from './support.js';

type Handler = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

/** 300,000 bytes whose value tells their place. */
const file = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) % 251);
const log: { readonly method: string; readonly url: string; readonly range: string | undefined }[] = [];
const waits: number[] = [];
const routes = new Map<string, Handler>();
let server: Server;
let origin = '';

/** A server that does ranges; `change` may alter an answer before it is sent. */
function ranged(bytes: Uint8Array, change: (headers: Map<string, string>, nth: number) => void = () => {}): Handler {
  return ({ method, headers: { range } }, response, nth) => {
    const [, first = '0', last = ''] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    const [start, end] = [Number(first), Math.min(Number(last || Infinity) + 1, bytes.length)];
    const headers = new Map([['content-length', String(range ? end - start : bytes.length)]]);
    if (range && start >= bytes.length) {
      response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
      return;
    }
    if (range) headers.set('content-range', `bytes ${start}-${end - 1}/${bytes.length}`);
    change(headers, nth);
    response.writeHead(range ? 206 : 200, Object.fromEntries(headers));
    response.end(method === 'HEAD' ? undefined : bytes.subarray(start, end));
  };
}

const plain =
  (bytes: Uint8Array | string, status = 200, headers: Readonly<Record<string, string>> = {}): Handler =>
  (_, response) =>
    response.writeHead(status, headers).end(bytes);

beforeAll(async () => {
  const counts = new Map<string, number>();
  server = createServer((request, response) => {
    const url = request.url ?? '';
    log.push({ method: request.method ?? '', url, range: request.headers.range });
    const path = url.replace(/\?.*$/, '');
    const nth = counts.get(path) ?? 0;
    counts.set(path, nth + 1);
    (routes.get(path) ?? plain('nothing here', 404))(request, response, nth);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
});
afterAll(
  () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
);
beforeEach(() => {
  log.length = 0;
  waits.length = 0;
});

const deps = {
  fetch,
  now: () => Date.UTC(2030, 0, 1),
  random: () => 0.5, // waits as they are, without chance
  sleep: (ms: number): Promise<void> => {
    waits.push(ms);
    return Promise.resolve();
  },
};

let names = 0;
/** Serves `handler` under a path of its own, and opens that through a tree. */
async function open(handler: Handler, signal?: AbortSignal, onBytes?: (bytes: number) => void) {
  const name = `f${names++}`;
  routes.set(`/models/${name}`, handler);
  return urlTree(`${origin}/models`, deps).open(name, signal, onBytes);
}

describe('urlTree', () => {
  it('opens with one request, and reads pieces with ranges', async () => {
    let bytes = 0;
    const source = await open(ranged(file), undefined, (n) => (bytes += n));
    expect(source?.size).toBe(file.length);
    expect(source?.name).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/models\/f\d+$/);
    expect(log.map(({ range }) => range)).toEqual(['bytes=0-65535']);
    expect(bytes).toBe(65536);
    expect(await source?.read(100, 200)).toEqual(file.subarray(100, 200));
    expect(log).toHaveLength(1);
    expect(await source?.read(65530, 65540)).toEqual(file.subarray(65530, 65540));
    expect(await source?.read(299_000, 300_000)).toEqual(file.subarray(299_000));
    expect(log).toHaveLength(2); // one block holds the whole of this file
  });

  it('takes one whole download from a server without ranges', async () => {
    let bytes = 0;
    const source = await open(plain(file), undefined, (n) => (bytes += n));
    expect(source?.size).toBe(file.length);
    expect(bytes).toBe(file.length);
    expect(await source?.read(250_000, 250_100)).toEqual(file.subarray(250_000, 250_100));
    expect(log).toHaveLength(1);
  });

  it('finds the length by HEAD when Content-Range is hidden, or by downloading when that does not tell', async () => {
    const hidden = await open(ranged(file, (headers) => headers.delete('content-range')));
    expect(hidden?.size).toBe(file.length);
    expect(log.map(({ method }) => method)).toEqual(['GET', 'HEAD']);
    expect(await hidden?.read(70_000, 70_010)).toEqual(file.subarray(70_000, 70_010));
    log.length = 0;
    const noLength = await open((request, response, nth) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      else ranged(file, (headers) => headers.delete('content-range'))(request, response, nth);
    });
    expect(noLength?.size).toBe(file.length);
    expect(log.map(({ method, range }) => [method, range !== undefined])).toEqual([
      ['GET', true],
      ['HEAD', false],
      ['GET', false],
    ]);
  });

  it('needs no HEAD for a short file', async () => {
    const source = await open(ranged(file.subarray(0, 50), (headers) => headers.delete('content-range')));
    expect(source?.size).toBe(50);
    expect(log).toHaveLength(1);
  });

  it('opens an empty file', async () => {
    expect((await open(ranged(new Uint8Array(0))))?.size).toBe(0);
  });

  it('has no file at 404 and 410', async () => {
    expect(await open(plain('', 404))).toBeUndefined();
    expect(await open(plain('', 410))).toBeUndefined();
    expect(waits).toEqual([]);
  });

  it('tries again twice, with longer waits, and takes reported bytes back', async () => {
    let bytes = 0;
    const flaky: Handler = (request, response, nth) => {
      if (nth === 0) return void response.writeHead(503).end();
      if (nth > 1) return ranged(file)(request, response, nth);
      response.writeHead(206, { 'content-length': '65536', 'content-range': `bytes 0-65535/${file.length}` });
      response.write(file.subarray(0, 1000), () => response.destroy()); // torn
    };
    const source = await open(flaky, undefined, (n) => (bytes += n));
    expect(source?.size).toBe(file.length);
    expect(waits).toEqual([500, 1000]);
    expect(bytes).toBe(65536);
  });

  it.each([
    [500, 'could not be downloaded: the server answered 500 (after 3 tries)', 3],
    [429, 'could not be downloaded: the server answered 429 (after 3 tries)', 3],
    [400, 'could not be downloaded: the server answered 400.', 1],
  ])('reports status %d', async (status, what, requests) => {
    const problem = await problemOf(() => open(plain('', status)));
    expect(problem.code).toBe('downloadFailed');
    expect(problem.message).toContain(what);
    expect(log).toHaveLength(requests);
  });

  it.each([401, 403])('says how to give a token at %d', async (status) => {
    const problem = await problemOf(() => open(plain('', status, { 'x-error-code': 'GatedRepo' })));
    expect(problem.code).toBe('accessDenied');
    expect(problem.message).toContain(`may not be read: the server answered ${status} (GatedRepo).`);
    expect(problem.hint).toContain(`authorization: { '${new URL(origin).host}': 'Bearer …' }`);
    expect(log).toHaveLength(1);
  });

  it.each([
    ['7', 7000],
    [new Date(Date.UTC(2030, 0, 1, 0, 0, 20)).toUTCString(), 20_000],
    ['86400', 120_000],
    ['soon', 500],
  ])('waits as long as the server asks for: %s', async (retryAfter, ms) => {
    const source = await open((request, response, nth) =>
      nth === 0
        ? plain('', 429, { 'retry-after': retryAfter })(request, response, nth)
        : ranged(file)(request, response, nth),
    );
    expect(source?.size).toBe(file.length);
    expect(waits).toEqual([ms]);
  });

  it('gives a silent connection up', async () => {
    const silent: Handler = (request, response, nth) => {
      if (nth === 2) return ranged(file)(request, response, nth);
      response.writeHead(206, { 'content-length': '65536', 'content-range': `bytes 0-65535/${file.length}` });
      if (nth === 1) response.write(file.subarray(0, 1000)); // then nothing; the first time not even headers leave
    };
    const name = `f${names++}`;
    routes.set(`/models/${name}`, silent);
    const source = await urlTree(`${origin}/models`, { ...deps, stallMs: 100 }).open(name);
    expect(source?.size).toBe(file.length);
    expect(waits).toEqual([500, 1000]);
  });

  it('reports a network that fails, without query and password', async () => {
    const unreachable = urlTree('http://me:secret@127.0.0.1:9/models/?token=secret#secret', {
      ...deps,
      fetch: () => Promise.reject(new TypeError('Failed to fetch')),
    });
    const problem = await problemOf(() => unreachable.open('unet/config.json'));
    expect(problem).toMatchObject({
      code: 'downloadFailed',
      message: 'http://127.0.0.1:9/models/unet/config.json could not be downloaded: Failed to fetch (after 3 tries).',
    });
    expect(JSON.stringify([problem, unreachable.name])).not.toContain('secret');
  });

  it('calls fetch as a function, not as a method, which browsers refuse', async () => {
    const receivers: unknown[] = [];
    const own = function (this: unknown): Promise<Response> {
      receivers.push(this);
      return Promise.resolve(new Response(null, { status: 404 }));
    };
    await urlTree(origin, { fetch: own }).open('x');
    expect(receivers).toEqual([undefined]);
  });

  it('sends the query of the prefix with each request', async () => {
    await urlTree(`${origin}/models/?token=1`, deps).open('unet/a b.json');
    expect(log.map(({ url }) => url)).toEqual(['/models/unet/a%20b.json?token=1']);
  });

  it.each([
    [
      'another place',
      (h: Map<string, string>) => h.set('content-range', `bytes 7-65542/${file.length}`),
      'begins at byte 7, not 0',
    ],
    ['a longer answer', (h: Map<string, string>) => h.delete('content-length'), 'longer than the 65536 bytes'],
  ])('does not believe %s', async (what, change, message) => {
    const bad: Handler = (request, response, nth) =>
      what === 'a longer answer'
        ? void response.writeHead(206, { 'content-range': `bytes 0-65535/${file.length}` }).end(file)
        : ranged(file, change)(request, response, nth);
    expect((await problemOf(() => open(bad))).message).toContain(message);
  });

  it.each([
    [
      'its length',
      (h: Map<string, string>, nth: number) => nth > 0 && h.set('content-range', 'bytes 65536-299999/400000'),
    ],
    ['its etag', (h: Map<string, string>, nth: number) => h.set('etag', `"${nth}"`)],
  ])('notices that a file changed: %s', async (_, change) => {
    const source = await open(
      ranged(file, (headers, nth) => {
        const range = headers.get('content-range') ?? '';
        change(headers, nth);
        if (nth > 0 && headers.get('content-range') !== range)
          headers.set('content-range', range.replace(/\/.*/, '/400000'));
      }),
    );
    const problem = await problemOf(() => source?.read(100_000, 100_010));
    expect(problem.code).toBe('downloadFailed');
    expect(problem.message).toContain('changed on the server');
  });

  it('copes with a server that forgets about ranges, if the file is the same', async () => {
    const forgetful =
      (whole: Uint8Array): Handler =>
      (request, response, nth) =>
        nth === 0 ? ranged(file)(request, response, nth) : plain(whole)(request, response, nth);
    const same = await open(forgetful(file));
    expect(await same?.read(100_000, 100_010)).toEqual(file.subarray(100_000, 100_010));
    const other = await open(forgetful(file.subarray(1)));
    expect((await problemOf(() => other?.read(100_000, 100_010))).code).toBe('downloadFailed');
  });

  it('stops when aborted: before, during a request, during the wait', async () => {
    expect((await problemOf(() => open(ranged(file), AbortSignal.abort()))).code).toBe('aborted');
    expect(log).toHaveLength(0);
    const during = new AbortController();
    const never: Handler = () => during.abort();
    expect((await problemOf(() => open(never, during.signal))).code).toBe('aborted');
    const waiting = new AbortController();
    const tree = urlTree(`${origin}/models`, {
      fetch,
      sleep: () => {
        waiting.abort();
        return Promise.resolve();
      },
    });
    routes.set('/models/busy', plain('', 503));
    log.length = 0;
    expect((await problemOf(() => tree.open('busy', waiting.signal))).code).toBe('aborted');
    expect(log).toHaveLength(1);
  });

  it('really waits when no clock is given', async () => {
    routes.set('/models/once', (request, response, nth) =>
      nth === 0 ? plain('', 503)(request, response, nth) : ranged(file)(request, response, nth),
    );
    const before = performance.now();
    expect((await urlTree(`${origin}/models`, { fetch }).open('once'))?.size).toBe(file.length);
    expect(performance.now() - before).toBeGreaterThan(240); // 0.5 to 1.5 times half a second
  });

  it.each(['models/x', 'file:///etc', 'data:text/plain,x', '', 'javascript:1'])(
    'refuses %j as a folder',
    async (prefix) => {
      expect((await problemOf(() => urlTree(prefix, deps))).code).toBe('invalidModelFile');
    },
  );

  it('reads safetensors and JSON, and knows a page from JSON', async () => {
    const values = Array.from({ length: 20_000 }, (_, i) => i);
    const source = await open(
      ranged(safetensors({ w: { dtype: 'F32', shape: [20_000], bytes: float32Bytes(values) } })),
    );
    if (source === undefined) throw new Error('the file was not found');
    const tensor = (await openSafetensors(source)).tensors.get('w');
    expect(await source.read(tensor?.start ?? 0, tensor?.end ?? 0)).toEqual(float32Bytes(values));
    const page = await open(plain('<!DOCTYPE html><title>App</title>', 200, { 'content-type': 'text/html' }));
    expect((await problemOf(() => page && readJson(page, 1000))).message).toContain('is an HTML page, not JSON');
  });
});
