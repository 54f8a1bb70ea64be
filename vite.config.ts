/** @file The demo's dev server and build: `npx vite` serves demo/, `npx vite build` writes dist-demo/. Models are reachable at models/. */
import { createReadStream } from 'node:fs';
import { cp, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { resolve, sep } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

const ROOT = import.meta.dirname;
const MODELS = resolve(ROOT, 'models');

export default defineConfig({
  root: resolve(ROOT, 'demo'),
  base: './',
  publicDir: false,
  plugins: [modelsFolder()],
  worker: { format: 'es' },
  // ONNX Runtime finds its .wasm beside its own code, so it must stay where it is; the others are known here so that the
  // server does not discover them late and reload the page.
  optimizeDeps: { exclude: ['onnxruntime-web'], include: ['comlink'] },
  build: {
    outDir: resolve(ROOT, 'dist-demo'),
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { fs: { allow: [ROOT] } },
});

/** Serves models/ at /models/ while developing, with byte ranges, and copies it into the build. */
function modelsFolder(): Plugin {
  return {
    name: 'models-folder',
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        if (request.url?.startsWith('/models/') !== true) return next();
        sendFile(request.url, request, response).catch(next);
      });
    },
    async closeBundle() {
      const { root, build } = this.environment.config;
      const out = resolve(root, build.outDir, 'models/tinyworld');
      if (this.environment.mode === 'build') await cp(resolve(MODELS, 'tinyworld'), out, { recursive: true });
    },
  };
}

/** @param url starts with `/models/`. */
async function sendFile(url: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = resolve(ROOT, `.${decodeURIComponent(new URL(url, 'http://x').pathname)}`);
  const found = path.startsWith(MODELS + sep) ? await stat(path).catch(() => undefined) : undefined;
  if (found?.isFile() !== true) {
    response.writeHead(404, { 'Content-Type': 'text/plain' }).end('Not found');
    return;
  }
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = range === null ? 0 : Number(range[1]);
  const end = Math.min(range === null || range[2] === '' ? Infinity : Number(range[2]), found.size - 1);
  const type = path.endsWith('.json') ? 'application/json' : 'application/octet-stream';
  response.setHeader('Content-Type', type).setHeader('Accept-Ranges', 'bytes').setHeader('Cache-Control', 'no-cache');
  if (start > end && found.size > 0) {
    response.writeHead(416, { 'Content-Range': `bytes */${found.size}` }).end();
    return;
  }
  response.setHeader('Content-Length', end - start + 1);
  if (range === null) response.writeHead(200);
  else response.writeHead(206, { 'Content-Range': `bytes ${start}-${end}/${found.size}` });
  if (request.method === 'HEAD') response.end();
  else createReadStream(path, { start, end }).pipe(response);
}
