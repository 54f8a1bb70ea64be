/** @file What runs in the page for `bench/convert.ts`: it starts the worker that does everything. */
import { wrap } from 'comlink';
import type { ConvertWorker } from './convert-worker.js';

const worker = new Worker(new URL('./convert-worker.ts', import.meta.url), { type: 'module' });

Object.assign(globalThis, { openConvertBench: wrap<ConvertWorker>(worker).open });
