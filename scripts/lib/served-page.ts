/** @file A headless Chromium on the harness page, served by Vite together with folders of the disk. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, normalize, sep } from 'node:path';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { chromium, type Browser, type Page } from 'playwright';
import { createServer, type Plugin, type ViteDevServer } from 'vite';
import { findOrInstallChromium } from '../chromium.mjs';

const ROOT = join(import.meta.dirname, '../..');

/** Switches for software WebGPU without a display, and against background traffic. */
const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
] as const;

/** A headless Chromium, found or installed (scripts/chromium.mjs); `CHROMIUM_PATH` is heard first. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = await findOrInstallChromium();
  return chromium.launch({ headless: true, args: [...CHROMIUM_ARGS], executablePath });
}

export interface ServedPage {
  readonly page: Page;
  readonly url: string;
  close(): Promise<void>;
}

/** @param folders key → folder on disk, served under `/folder/KEY/`. */
export async function openServedPage(
  folders: Readonly<Record<string, string>>,
  path = '/scripts/page/',
): Promise<ServedPage> {
  const server = await createServer({
    root: ROOT,
    configFile: false,
    cacheDir: join(ROOT, `node_modules/.vite-harness${testLane()}`),
    logLevel: 'error',
    appType: 'mpa',
    server: { port: 0, host: '127.0.0.1', hmr: false, watch: null },
    plugins: [folderPlugin(folders)],
    worker: { format: 'es' },
    optimizeDeps: {
      include: ['onnxruntime-web/jspi', 'onnxruntime-web/webgpu', 'onnxruntime-web/wasm', 'comlink'],
      entries: ['scripts/page/harness.ts', 'workers/pipeline.worker.ts'],
    },
  });
  let browser: Browser | undefined;
  try {
    await server.listen();
    const url = serverUrl(server);
    browser = await launchChromium();
    const page = await browser.newPage();
    await page.goto(new URL(path, url).href);
    await page.waitForFunction(() => 'harness' in globalThis);
    const opened = browser;
    return {
      page,
      url,
      async close() {
        await opened.close();
        await server.close();
      },
    };
  } catch (error) {
    await browser?.close();
    await server.close();
    throw error;
  }
}

/** Tests that run at once do not share what Vite keeps: a server that finds it changed reloads its pages. */
export function testLane(): string {
  return process.env.VITEST_POOL_ID === undefined ? '' : `-${process.env.VITEST_POOL_ID}`;
}

function serverUrl(server: ViteDevServer): string {
  const [url] = server.resolvedUrls?.local ?? [];
  if (url === undefined) throw new Error('The Vite server has no address.');
  return url;
}

function folderPlugin(folders: Readonly<Record<string, string>>): Plugin {
  return {
    name: 'darkroom-folders',
    configureServer(server) {
      server.middlewares.use('/folder/', (request, response, next) => {
        serve(folders, request, response).catch(next);
      });
    },
  };
}

/** A file, or a byte range of it; 404 for everything else. */
async function serve(
  folders: Readonly<Record<string, string>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname).replace(/^\/+/, '');
  const [key = '', ...rest] = path.split('/');
  const root = folders[key];
  const file = root === undefined ? undefined : normalize(join(root, ...rest));
  const info = file?.startsWith(root + sep) === true ? await stat(file).catch(() => undefined) : undefined;
  if (file === undefined || info?.isFile() !== true) {
    response.writeHead(404).end();
    return;
  }
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = Number(range?.[1] ?? 0);
  const end = Math.min(range?.[2] ? Number(range[2]) : info.size - 1, info.size - 1);
  if (range !== null && start >= info.size) {
    response.writeHead(416, { 'Content-Range': `bytes */${info.size}` }).end();
    return;
  }
  response.writeHead(range === null ? 200 : 206, {
    'Content-Length': info.size === 0 ? 0 : end - start + 1,
    'Content-Type': 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    ...(range === null ? {} : { 'Content-Range': `bytes ${start}-${end}/${info.size}` }),
  });
  if (request.method === 'HEAD' || info.size === 0) response.end();
  else createReadStream(file, { start, end }).pipe(response);
}
