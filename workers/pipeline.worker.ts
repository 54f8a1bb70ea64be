/** @file The pipeline worker: exposes the engine and what is kept in the browser through comlink. */
import { expose, releaseProxy, type Remote } from 'comlink';
import { fail, toWireErrors } from '../src/base/errors.js';
import { busyNotice } from '../src/client/busy-notice.js';
import { holdLifeLock } from '../src/client/life-lock.js';
import type { PipelineWorker, Settled, WireEvent } from '../src/client/wire.js';
import { watchDownloads } from '../src/pipeline/download-progress.js';
import { makeParts, type Parts } from './parts.js';

const jobs = new Map<string, AbortController>();
let parts: Parts | undefined;

function started(): Parts {
  if (parts === undefined) throw fail('internalError', 'The worker was not started.');
  return parts;
}

/** To the client, which takes silence for death when this thread is not in a call that may block it. */
function sayBusy(busy: boolean): void {
  self.postMessage(busyNotice(busy));
}

/** comlink drops the fields of thrown errors, so nothing is thrown across the border. */
async function settle<T>(work: () => T | Promise<T>): Promise<Settled<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, errors: toWireErrors(error) };
  }
}

const worker: PipelineWorker = {
  start: (options) =>
    settle(async () => {
      if (options.lifeLock !== undefined) await holdLifeLock(options.lifeLock);
      parts = makeParts(options, sayBusy);
      return parts.engine.start();
    }),
  registerModel: (model) => settle(() => started().registerModel(model)),
  run: (jobId, tasks, onEvent) =>
    settle(async () => {
      const { engine, models } = started();
      const job = new AbortController();
      jobs.set(jobId, job);
      const watched = watchDownloads(
        (event) => void onEvent(event),
        (listener) => models.subscribe(listener),
      );
      try {
        return await engine.run(tasks, { signal: job.signal, onEvent: watched.onEvent });
      } finally {
        jobs.delete(jobId);
        watched.stop();
        // comlink made this function from the client's proxy; without the release the channel would stay open.
        (onEvent as unknown as Remote<(event: WireEvent) => void>)[releaseProxy]();
      }
    }),
  cancel: (jobId) => Promise.resolve(jobs.get(jobId)?.abort()),
  willItFit: (request, options) => settle(() => started().engine.willItFit(request, options)),
  listImages: () => settle(() => started().images.list()),
  readImage: (imageUUID) => settle(() => started().images.get(imageUUID)),
  deleteImage: (imageUUID) => settle(() => started().images.delete(imageUUID)),
  clearImages: () => settle(() => started().images.clear()),
  listModels: () => settle(() => started().models.list()),
  storeStatus: () => settle(() => started().models.status()),
  deleteModel: (id) => settle(() => started().models.delete(id)),
  pinModel: (id, pinned) => settle(() => started().models.pin(id, pinned)),
  memory: () => Promise.resolve(started().engine.memory()),
  dispose: async () => {
    for (const job of jobs.values()) job.abort();
    await parts?.engine.dispose();
    parts = undefined;
  },
};

expose(worker);
sayBusy(false);
