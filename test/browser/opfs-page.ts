/** @file Runs inside the browser: a page with the worker of `opfs-worker.ts`. */
import { wrap } from 'comlink';
import type { OpfsWorker } from './opfs-worker.js';

const worker = new Worker(new URL('./opfs-worker.ts', import.meta.url), { type: 'module' });
Object.assign(globalThis, { opfs: wrap<OpfsWorker>(worker) });
