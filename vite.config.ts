/** @file The demo's dev server and build: `npx vite` serves demo/, `npx vite build` writes dist-demo/, `npx vite preview` serves that. */
import { resolve } from 'node:path';
import { defineConfig } from 'vite';

const ROOT = import.meta.dirname;

export default defineConfig({
  root: resolve(ROOT, 'demo'),
  base: './', // the build works in any folder of any site
  appType: 'mpa', // a file that is not there is a 404, not the page
  publicDir: false,
  worker: { format: 'es' },
  // ONNX Runtime finds its .wasm beside its own code, so it must stay where it is; the others are known here so that the
  // server does not discover them late and reload the page.
  optimizeDeps: { exclude: ['onnxruntime-web'], include: ['comlink', '@huggingface/tokenizers'] },
  build: {
    outDir: resolve(ROOT, 'dist-demo'),
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the page's policy allows no data: URLs
    modulePreload: { polyfill: false },
  },
  server: { fs: { allow: [ROOT] } },
});
