/** @file Downloads of models as progress of the task that waits for them. */
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

/** Adds to a run's events those of downloads, as stage `download` of the picture that was told of last. */
export function watchDownloads(onEvent: (event: WireEvent) => void, subscribe: Subscribe): Watched {
  let last: ProgressEvent | undefined;
  const stop = subscribe((event) => {
    if (last === undefined || (event.state !== 'downloading' && event.state !== 'waiting')) return;
    onEvent(toProgress(event, last));
  });
  return {
    onEvent(event) {
      if (event.kind === 'progress') last = event;
      onEvent(event);
    },
    stop,
  };
}

function toProgress(
  { bytes, totalBytes, bytesPerSecond, secondsLeft }: DownloadEvent,
  { taskUUID, image, images }: ProgressEvent,
): ProgressEvent {
  return {
    kind: 'progress',
    taskUUID,
    stage: 'download',
    image,
    images,
    bytes,
    ...(totalBytes === undefined ? {} : { totalBytes }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    ...(secondsLeft === undefined ? {} : { secondsLeft }),
  };
}
