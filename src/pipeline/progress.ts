/** @file Progress of one task: stages, bytes and steps become events; times of stages are kept for the result. */
import type { ProgressEvent, Stage, WireEvent } from './events.js';

export interface Progress {
  /** Runs `work` as `stage` of picture `image`; its wall time is added to the timings. */
  stage<T>(stage: Stage, work: () => Promise<T>): Promise<T>;
  /** More bytes of the current `load` or `download` stage have arrived. */
  bytes(count: number, total: number): void;
  /** So many bytes of files are missing, and are downloaded from now on. */
  downloads(total: number): void;
  /** `step` of `of` steps, or of the runs of a picture that is decoded in bands, are done. */
  step(step: number, of: number): void;
  /** The picture that the next events are about. */
  image(index: number): void;
  timings(): Readonly<Partial<Record<Stage, number>>>;
}

/** Events about bytes are sent at most this often. */
const BYTES_EVERY_MS = 50;

export function createProgress(
  task: { readonly taskUUID: string; readonly numberResults: number },
  onEvent: (event: WireEvent) => void,
  now: () => number,
): Progress {
  let image = 0;
  let stage: Stage = 'load';
  let timings: Partial<Record<Stage, number>> = {};
  let bytesDone = 0;
  let bytesSent = -Infinity;
  let stepTimes: number[] = [];

  const send = (more: Partial<ProgressEvent> = {}): void =>
    onEvent({ kind: 'progress', taskUUID: task.taskUUID, stage, image, images: task.numberResults, ...more });

  return {
    async stage(name, work) {
      const outer = stage;
      stage = name;
      bytesDone = 0;
      stepTimes = [now()];
      send();
      const start = now();
      try {
        return await work();
      } finally {
        timings[name] = (timings[name] ?? 0) + now() - start;
        stage = outer;
      }
    },
    bytes(count, total) {
      bytesDone += count;
      const time = now();
      if (time - bytesSent < BYTES_EVERY_MS && bytesDone < total) return;
      bytesSent = time;
      send({ bytes: Math.min(bytesDone, total), totalBytes: total });
    },
    downloads(total) {
      if (total > 0) send({ stage: 'download', bytes: 0, totalBytes: total });
    },
    step(step, of) {
      stepTimes.push(now());
      const secondsLeft = estimate(stepTimes, of - step);
      send({ step, of, ...(secondsLeft === undefined ? {} : { secondsLeft }) });
    },
    image(index) {
      // What came before the first picture (loading, text) counts as its time.
      if (index > 0) timings = {};
      image = index;
    },
    timings: () => timings,
  };
}

/** Mean of the last steps times those to come; the first step does not count, since it compiles shaders. */
function estimate(times: readonly number[], left: number): number | undefined {
  const recent = times.slice(Math.max(1, times.length - 6));
  const [first] = recent;
  const last = recent[recent.length - 1];
  if (first === undefined || last === undefined || recent.length < 2) return undefined;
  return ((last - first) / (recent.length - 1) / 1000) * left;
}
