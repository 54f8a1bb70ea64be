/** @file Progress of one task: stages, bytes and steps become events; times of stages are kept for the result. */
import type { ProgressEvent, Stage, WireEvent } from './events.js';

export interface Progress {
  /** Runs `work` as `stage` of picture `image`; its wall time is added to the timings. */
  stage<T>(stage: Stage, work: () => Promise<T>): Promise<T>;
  /** More bytes of the current `load`, `download` or `convert` stage are done. */
  bytes(count: number, total: number): void;
  /** So many bytes of files are missing, and are downloaded from now on. */
  downloads(total: number): void;
  /** `step` of `of` steps, or of the runs of a picture that is decoded in bands, are done. */
  step(step: number, of: number): void;
  /**
   * What each of `of` steps of the current stage is expected to take, as long as they have not shown it: told at once if it is known, and asked again
   * after the first step.
   */
  expect(secondsPerStep: () => number | undefined, of: number): void;
  /** Seconds of the last steps, as they were told with the last one; absent where there were too few to measure. */
  secondsPerStep(): number | undefined;
  /** The picture that the next events are about. */
  image(index: number): void;
  /** Milliseconds of that picture. */
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
  /** By picture: where networks take turns, pictures do too. What comes before the first one (loading, text) counts as its time. */
  const timings = new Map<number, Partial<Record<Stage, number>>>();
  let bytesDone = 0;
  let bytesSent = -Infinity;
  let stepTimes: number[] = [];
  let expected: (() => number | undefined) | undefined;

  const send = (more: Partial<ProgressEvent> = {}): void =>
    onEvent({ kind: 'progress', taskUUID: task.taskUUID, stage, image, images: task.numberResults, ...more });

  return {
    async stage(name, work) {
      const outer = stage;
      stage = name;
      bytesDone = 0;
      stepTimes = [now()];
      expected = undefined;
      send();
      const start = now();
      try {
        return await work();
      } finally {
        const before = timings.get(image);
        timings.set(image, { ...before, [name]: (before?.[name] ?? 0) + now() - start });
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
      send({ step, of, ...paceOf(meanStep(stepTimes) ?? expected?.(), of - step) });
    },
    expect(secondsPerStep, of) {
      expected = secondsPerStep;
      const pace = paceOf(secondsPerStep(), of);
      if (pace.secondsPerStep !== undefined) send(pace);
    },
    secondsPerStep: () => meanStep(stepTimes),
    image(index) {
      image = index;
    },
    timings: () => timings.get(image) ?? {},
  };
}

function paceOf(
  secondsPerStep: number | undefined,
  left: number,
): Pick<ProgressEvent, 'secondsPerStep' | 'secondsLeft'> {
  return secondsPerStep === undefined ? {} : { secondsPerStep, secondsLeft: secondsPerStep * left };
}

/** Mean of the last steps in seconds; the first step does not count, since it compiles shaders. @param times when the first began and each ended, in ms */
function meanStep(times: readonly number[]): number | undefined {
  const recent = times.slice(Math.max(1, times.length - 6));
  const [first] = recent;
  const last = recent[recent.length - 1];
  if (first === undefined || last === undefined || recent.length < 2) return undefined;
  return (last - first) / (recent.length - 1) / 1000;
}
