/** @file The pipeline worker, which can be sent into a loop that does not end. */
import '../../workers/pipeline.worker.js';

self.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
  for (; data === 'loop';);
});
