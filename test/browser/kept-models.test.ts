/** @file Models that came over the network stay: a second visit makes the same picture without the server, until they are deleted. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchChromium, serveDemo, type Site } from './chromium.js';
import type { Bench, Made } from './kept-models-page.js';

const MODEL = join(import.meta.dirname, '../golden/models/sd15-tiny');
const TOKEN = 'Bearer secret-of-the-test';

let browser: Browser;
let site: Site;
let tab: Page;
let server: Server;
let source: string;
const asked: string[] = [];

/** Serves the model's folder with ranges to those who have the token. */
function serveModel(): Promise<Server> {
  const made = createServer((request, response) => {
    void (async () => {
      const path = new URL(request.url ?? '/', 'http://x').pathname;
      const cors = {
        'access-control-allow-origin': '*',
        'access-control-allow-headers': '*',
        'access-control-expose-headers': '*',
      };
      if (request.method === 'OPTIONS') return response.writeHead(204, cors).end();
      asked.push(path);
      if (request.headers.authorization !== TOKEN) return response.writeHead(401, cors).end();
      const file = join(MODEL, path);
      const info = await stat(file).catch(() => undefined);
      if (info?.isFile() !== true) return response.writeHead(404, cors).end();
      const [, from = '', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
      const start = from === '' ? 0 : Number(from);
      const end = Math.min(to === '' ? Infinity : Number(to), info.size - 1);
      response.writeHead(from === '' ? 200 : 206, {
        ...cors,
        etag: `"${info.size}"`,
        'accept-ranges': 'bytes',
        'content-length': end - start + 1,
        ...(from === '' ? {} : { 'content-range': `bytes ${start}-${end}/${info.size}` }),
      });
      if (request.method === 'HEAD') return response.end();
      return createReadStream(file, { start, end }).pipe(response);
    })();
  });
  return new Promise((resolve) => made.listen(0, '127.0.0.1', () => resolve(made)));
}

beforeAll(async () => {
  [browser, site, server] = await Promise.all([launchChromium(), serveDemo(), serveModel()]);
  source = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  tab = await browser.newPage();
  await tab.goto(site.url);
  await tab.addScriptTag({
    type: 'module',
    url: `/@fs${new URL('./kept-models-page.ts', import.meta.url).pathname}`,
  });
  await tab.locator('body[data-ready]').waitFor({ timeout: 120_000 });
});
afterAll(async () => {
  await browser.close();
  await site.close();
  server.close();
});

const make = (authorization: Readonly<Record<string, string>>): Promise<Made> =>
  tab.evaluate(([url, headers]) => (Reflect.get(globalThis, 'bench') as Bench).make(url, headers), [
    source,
    authorization,
  ] as const);

it('asks for a login where there is none, and says so', async () => {
  await expect(make({})).rejects.toThrow(/401|login|token|Authorization/i);
});

it('downloads a model once; a later visit needs no server', async () => {
  const first = await make({ [new URL(source).host]: TOKEN });
  expect(first.downloads.length).toBeGreaterThan(0);
  expect(first.downloads.at(-1)?.totalBytes).toBeGreaterThan(1000);
  const requests = asked.length;
  await new Promise((resolve) => server.close(resolve).closeAllConnections());
  const second = await make({});
  expect(second.sha256).toBe(first.sha256);
  expect(asked.length).toBe(requests);
});

it('lists what is kept, without any secret, and deletes it', async () => {
  const { kept, left } = await tab.evaluate(() => (Reflect.get(globalThis, 'bench') as Bench).listAndDelete());
  expect(kept).toHaveLength(1);
  expect(kept[0]).toMatchObject({ title: 'tiny', partialBytes: 0 });
  expect(JSON.stringify(kept)).not.toContain('secret');
  expect(left).toBe(0);
  await expect(make({})).rejects.toThrow();
});
