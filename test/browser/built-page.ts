/** @file Builds the page of built-page/ and serves it under a content security policy; whatever is asked of the server is written down. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize, sep } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright';
import { build } from 'vite';
import type { BuiltPage } from './built-page/main.js';

/** What the guide says that a page needs (docs/guide/library.md): test of the page and of the guide alike. */
export const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src blob:";

/** The same for a page whose models are at another origin; what is stopped is reported. */
export function policyFor(origin: string): string {
  return `${POLICY.replace("connect-src 'self'", `connect-src 'self' ${origin}`)}; report-uri /policy-violated`;
}

export interface BuiltSite {
  readonly url: string;
  /** Method, path and body of all requests so far; emptied by whoever likes. */
  readonly asked: string[];
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
};

/** @param headers besides the policy */
export async function serveBuiltPage(headers: Readonly<Record<string, string>> = {}): Promise<BuiltSite> {
  const root = await mkdtemp(join(tmpdir(), 'darkroom-built-'));
  await build({
    configFile: false,
    root: join(import.meta.dirname, 'built-page'),
    base: './',
    logLevel: 'error',
    worker: { format: 'es' },
    build: {
      outDir: root,
      emptyOutDir: true,
      target: 'es2022',
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
    },
  });
  const asked: string[] = [];
  const server = createServer((request, response) => {
    answer(root, headers, asked, request, response).catch(() => response.writeHead(500).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/`,
    asked,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function answer(
  root: string,
  headers: Readonly<Record<string, string>>,
  asked: string[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  asked.push([request.method, request.url, ...(body === '' ? [] : [body])].join(' '));
  const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
  const file = normalize(join(root, path === '/' ? 'index.html' : path));
  const bytes = file.startsWith(root + sep) ? await readFile(file).catch(() => undefined) : undefined;
  if (bytes === undefined) {
    response.writeHead(404).end();
    return;
  }
  response
    .writeHead(200, {
      'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
      'Content-Length': bytes.length,
      'Content-Security-Policy': `${POLICY}; report-uri /policy-violated`,
      ...headers,
    })
    .end(bytes);
}

/** A tab with the page, and all that it says and asks for. */
export interface BuiltTab {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Everything on the console, and uncaught exceptions. */
  readonly said: string[];
  /** URLs of all requests, of workers too; blob: addresses stay in the page and are left out. */
  readonly requested: string[];
  call<K extends keyof BuiltPage>(
    name: K,
    ...args: Parameters<BuiltPage[K]>
  ): Promise<Awaited<ReturnType<BuiltPage[K]>>>;
}

/** @param context of another tab, for one of the same browser */
export async function openBuiltTab(browser: Browser, { url }: BuiltSite, context?: BrowserContext): Promise<BuiltTab> {
  const shared = context ?? (await browser.newContext());
  const page = await shared.newPage();
  const said: string[] = [];
  const requested: string[] = [];
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(String(error)));
  shared.on('request', (request) => {
    if (!request.url().startsWith('blob:')) requested.push(request.url());
  });
  await page.goto(url);
  await page.waitForFunction(() => 'builtPage' in globalThis);
  return {
    page,
    context: shared,
    said,
    requested,
    call: (name, ...args) =>
      page.evaluate(
        ([what, values]) => {
          const built = Reflect.get(globalThis, 'builtPage') as Record<string, (...all: readonly unknown[]) => unknown>;
          return built[what]?.(...values);
        },
        [name, args] as readonly [string, readonly unknown[]],
      ) as Promise<never>, // what the page's function of that name gives
  };
}
