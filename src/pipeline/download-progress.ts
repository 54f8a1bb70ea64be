/** @file Downloads of models as progress of the task that waits for them: all its files as one. */
import type { DownloadEvent } from '../assets/store/events.js';
import type { ProgressEvent, WireEvent } from './events.js';

/** Hears of downloads; gives back how to stop. */
export type Subscribe = (listener: (event: DownloadEvent) => void) => () => void;

export interface Watched {
  /** In place of the task's own listener. */
  readonly onEvent: (event: WireEvent) => void;
  /** Ends the listening to downloads. */
  stop(): void;
}

/**
 * Adds to a run's events those of downloads, as stage `download` of the picture that was told of last. Once the task has said how many bytes it
 * waits for, files that are brought one after the other count together; files that it did not wait for then (of LoRAs, which come earlier)
 * count by themselves. What other tabs download is told of only where this one waits for the same file.
 */
export function watchDownloads(onEvent: (event: WireEvent) => void, subscribe: Subscribe): Watched {
  let last: ProgressEvent | undefined;
  let sum = createSum(0);
  const awaited = new Set<string>();
  const stop = subscribe((event) => {
    if (!event.elsewhere && event.state === 'waiting') awaited.add(event.file);
    if (last === undefined || (event.elsewhere && !awaited.has(event.file))) return;
    sum.add(event);
    if (event.state === 'downloading' || event.state === 'waiting') onEvent(toProgress(event, sum.total(), last));
  });
  return {
    onEvent(event) {
      if (event.kind === 'progress') {
        if (last?.taskUUID !== event.taskUUID) sum = createSum(0);
        last = event;
        // The task says what it waits for.
        if (event.stage === 'download' && event.totalBytes !== undefined) sum = createSum(event.totalBytes);
      }
      onEvent(event);
    },
    stop,
  };
}

/** Bytes of all files; the total is absent while that of one of them is not known, unless the task has said it. */
interface Total {
  readonly bytes: number;
  readonly totalBytes: number | undefined;
}

interface Sum {
  add(event: DownloadEvent): void;
  total(): Total;
}

/** @param expected bytes of all files together, as far as they are known beforehand */
function createSum(expected: number): Sum {
  const files = new Map<string, Total>();
  return {
    add({ file, state, bytes, totalBytes }) {
      files.set(file, { bytes: state === 'done' ? (totalBytes ?? bytes) : bytes, totalBytes });
    },
    total() {
      let [bytes, totalBytes]: [number, number | undefined] = [0, 0];
      for (const file of files.values()) {
        bytes += file.bytes;
        totalBytes =
          totalBytes === undefined || file.totalBytes === undefined ? undefined : totalBytes + file.totalBytes;
      }
      return { bytes, totalBytes: expected > 0 ? Math.max(expected, totalBytes ?? bytes) : totalBytes };
    },
  };
}

function toProgress(
  { bytesPerSecond }: DownloadEvent,
  { bytes, totalBytes }: Total,
  { taskUUID, image, images }: ProgressEvent,
): ProgressEvent {
  const known = bytesPerSecond !== undefined && bytesPerSecond > 0 && totalBytes !== undefined;
  return {
    kind: 'progress',
    taskUUID,
    stage: 'download',
    image,
    images,
    bytes,
    ...(totalBytes === undefined ? {} : { totalBytes }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    ...(known ? { secondsLeft: Math.max(0, totalBytes - bytes) / bytesPerSecond } : {}),
  };
}
