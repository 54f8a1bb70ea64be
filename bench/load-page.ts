/** @file What runs in the page for `bench/load.ts`: it starts the worker that does everything. */
import { wrap } from 'comlink';
import type { LoadWorker } from './load-worker.js';

const worker = new Worker(new URL('./load-worker.ts', import.meta.url), { type: 'module' });

Object.assign(globalThis, { openLoadBench: wrap<LoadWorker>(worker).open });
