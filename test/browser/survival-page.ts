/** @file Runs inside the browser: kills its own worker in the middle of a picture, and says on the page what happened then. */
import { createDarkroom, DarkroomError } from '../../src/index.js';

const codeOf = (error: unknown): string => (error instanceof DarkroomError ? error.code : String(error));

const workers: Worker[] = [];
const darkroom = createDarkroom({
  backend: 'wasm',
  worker: () => {
    const worker = new Worker(new URL('../../workers/pipeline.worker.js', import.meta.url), { type: 'module' });
    workers.push(worker);
    return worker;
  },
});

const request = { positivePrompt: 'a castle', model: 'darkroom:1@1', width: 128, height: 128, steps: 100 };
const startedMs = performance.now();
let killedMs = NaN;
const onPreview = (): void => {
  if (Number.isNaN(killedMs)) killedMs = performance.now();
  workers[0]?.terminate();
};
const running = darkroom.imageInference(request, { onPreview }).then(() => 'finished', codeOf);
const waiting = darkroom.imageInference(request).then(() => 'finished', codeOf);
const fate = [await running, await waiting];
const noticedAfterMs = performance.now() - killedMs;
const [picture] = await darkroom.imageInference({ ...request, steps: 2, seed: 1 });
await darkroom.dispose();
const later = await darkroom.device().then(() => 'answered', codeOf);

document.body.dataset['report'] = JSON.stringify({
  fate,
  noticedAfterMs,
  killedAfterMs: killedMs - startedMs,
  workers: workers.length,
  width: picture?.width,
  later,
});
