/** @file Runs inside the browser: makes a picture, sends the worker into a loop in the middle of another, and says on the page when that was noticed. */
import { createDarkroom, DarkroomError } from '../../src/index.js';

/** More than any of the worker's own work takes on a busy machine, and much less than what a blocked worker is given. */
const FREEZE_MS = 10_000;

const workers: Worker[] = [];
const darkroom = createDarkroom({
  backend: 'wasm',
  timeouts: { freezeMs: FREEZE_MS },
  worker: () => {
    const worker = new Worker(new URL('./looping-worker.ts', import.meta.url), { type: 'module' });
    workers.push(worker);
    return worker;
  },
});

const request = { positivePrompt: 'a castle', model: 'darkroom:1@1', width: 128, height: 128, seed: 1 };
const before = await darkroom.imageInference({ ...request, steps: 2 });
let loopingSinceMs = NaN;
const onPreview = (): void => {
  if (Number.isNaN(loopingSinceMs)) loopingSinceMs = performance.now();
  workers[0]?.postMessage('loop');
};
const fate = await darkroom.imageInference({ ...request, steps: 100 }, { onPreview }).then(
  () => 'finished',
  (error: unknown) => (error instanceof DarkroomError ? error.code : String(error)),
);
const noticedAfterMs = performance.now() - loopingSinceMs;
const after = await darkroom.imageInference({ ...request, steps: 2 });
await darkroom.dispose();

document.body.dataset['report'] = JSON.stringify({
  fate,
  noticedAfterMs,
  workers: workers.length,
  pictures: [before.length, after.length],
});
