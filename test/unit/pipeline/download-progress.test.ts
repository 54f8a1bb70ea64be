/** @file Downloads as progress of the task that waits for them. */
import { expect, it } from 'vitest';
import type { DownloadEvent } from '../../../src/assets/store/events.js';
import { watchDownloads } from '../../../src/pipeline/download-progress.js';
import type { WireEvent } from '../../../src/pipeline/events.js';

const download = (more: Partial<DownloadEvent>): DownloadEvent => ({
  kind: 'download',
  model: 'id',
  title: 'tiny',
  file: 'https://example.org/unet.safetensors',
  state: 'downloading',
  bytes: 10,
  resumedBytes: 0,
  elsewhere: false,
  ...more,
});

/** A run that is watched: what it was told, and how to tell of a download. */
function watch() {
  const heard: WireEvent[] = [];
  let tell: (event: DownloadEvent) => void = () => undefined;
  let stopped = false;
  const watched = watchDownloads(
    (event) => heard.push(event),
    (listener) => {
      tell = listener;
      return () => (stopped = true);
    },
  );
  return { heard, watched, tell: (more: Partial<DownloadEvent>) => tell(download(more)), stopped: () => stopped };
}
const loading = { kind: 'progress', taskUUID: 'u', stage: 'load', image: 1, images: 2 } as const;

it('tells of downloads as stage of the picture that was told of last, and stops', () => {
  const { heard, watched, tell, stopped } = watch();
  tell({}); // nobody has said yet which task waits
  expect(heard).toEqual([]);

  watched.onEvent(loading);
  tell({ bytes: 20, totalBytes: 80, bytesPerSecond: 30, secondsLeft: 2 });
  tell({ state: 'verifying', bytes: 80, totalBytes: 80 });
  expect(heard).toEqual([
    loading,
    { ...loading, stage: 'download', bytes: 20, totalBytes: 80, bytesPerSecond: 30, secondsLeft: 2 },
  ]);
  watched.stop();
  expect(stopped()).toBe(true);
});

it('counts all files of a task as one, from the first byte on', () => {
  const { heard, watched, tell } = watch();
  watched.onEvent(loading);
  tell({ file: 'lora', bytes: 5, totalBytes: 7 }); // comes before the task knows what else it needs
  tell({ file: 'lora', state: 'done', bytes: 7, totalBytes: 7 });
  const announced = { ...loading, stage: 'download', bytes: 0, totalBytes: 300 } as const;
  watched.onEvent(announced);
  tell({ file: 'a', bytes: 20, totalBytes: 100, bytesPerSecond: 70 });
  tell({ file: 'a', state: 'done', bytes: 100, totalBytes: 100 });
  tell({ file: 'b', bytes: 60, totalBytes: 200, bytesPerSecond: 70 });
  const progress = heard.slice(1).map((event) => event.kind === 'progress' && [event.bytes, event.totalBytes]);
  expect(progress).toEqual([
    [5, 7],
    [0, 300],
    [20, 300],
    [160, 300],
  ]);
  expect(heard.at(-1)).toMatchObject({ secondsLeft: 2 }); // 140 bytes at 70 a second

  watched.onEvent({ ...loading, taskUUID: 'v' }); // another task begins anew
  tell({ file: 'c', bytes: 1, totalBytes: 2 });
  expect(heard.at(-1)).toMatchObject({ taskUUID: 'v', bytes: 1, totalBytes: 2 });
});

it('says no total where the server does not, and more than was announced where a file has grown', () => {
  const { heard, watched, tell } = watch();
  watched.onEvent(loading);
  tell({ bytes: 10, bytesPerSecond: 5 });
  expect(heard.at(-1)).toEqual({ ...loading, stage: 'download', bytes: 10, bytesPerSecond: 5 });
  watched.onEvent({ ...loading, stage: 'download', bytes: 0, totalBytes: 50 });
  tell({ file: 'a', bytes: 60, totalBytes: 90 });
  expect(heard.at(-1)).toMatchObject({ bytes: 60, totalBytes: 90 });
});

it('tells of what another tab downloads only where this one waits for it', () => {
  const { heard, watched, tell } = watch();
  watched.onEvent(loading);
  tell({ file: 'theirs', elsewhere: true, bytes: 50, totalBytes: 90 });
  expect(heard).toEqual([loading]);
  tell({ file: 'shared', state: 'waiting', bytes: 0, totalBytes: 90 });
  tell({ file: 'shared', elsewhere: true, bytes: 50, totalBytes: 90 });
  expect(heard.at(-1)).toEqual({ ...loading, stage: 'download', bytes: 50, totalBytes: 90 });
});
