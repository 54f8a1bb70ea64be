/** @file What the browser tests share: Chromium, watched pages, and the demo behind a Vite server of its own. */
import type { Browser, BrowserContextOptions, Page } from 'playwright';
import { createServer, type InlineConfig } from 'vite';
import { testLane } from '../../scripts/lib/served-page.js';

export { launchChromium } from '../../scripts/lib/served-page.js';

/** A server that listens on a free port of this machine. */
export interface Site {
  /** Ends with a slash. */
  readonly url: string;
  close(): Promise<void>;
}

/** Serves what `vite.config.ts` says (the demo), changed by `overrides`. */
export async function serveDemo(overrides: InlineConfig = {}): Promise<Site> {
  const server = await createServer({
    configFile: new URL('../../vite.config.ts', import.meta.url).pathname,
    cacheDir: new URL(`../../node_modules/.vite-demo${testLane()}`, import.meta.url).pathname,
    logLevel: 'error',
    server: { port: 0, host: '127.0.0.1', hmr: false, watch: null },
    ...overrides,
  });
  await server.listen();
  const url = server.resolvedUrls?.local[0];
  if (url === undefined) throw new Error('Vite did not say where it listens.');
  return { url, close: () => server.close() };
}

/** A page, and everything suspicious that happened on it. */
export interface WatchedPage {
  readonly page: Page;
  /** Console errors and warnings, uncaught exceptions, refused by policy. */
  readonly complaints: readonly string[];
  /** Requests to anywhere but `site` (blob: and data: stay in the page). */
  readonly strangers: readonly string[];
}

export async function openPage(
  browser: Browser,
  site: Site,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  const strangers: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  context.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(site.url) && !url.startsWith('blob:') && !url.startsWith('data:')) strangers.push(url);
  });
  return { page, complaints, strangers };
}
