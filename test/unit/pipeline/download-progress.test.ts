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

it('tells of downloads as stage of the picture that was told of last, and stops', () => {
  const heard: WireEvent[] = [];
  let tell: ((event: DownloadEvent) => void) | undefined;
  let stopped = false;
  const watched = watchDownloads(
    (event) => heard.push(event),
    (listener) => {
      tell = listener;
      return () => (stopped = true);
    },
  );
  tell?.(download({})); // nobody has said yet which task waits
  expect(heard).toEqual([]);

  const loading = { kind: 'progress', taskUUID: 'u', stage: 'load', image: 1, images: 2 } as const;
  watched.onEvent(loading);
  tell?.(download({ bytes: 20, totalBytes: 80, bytesPerSecond: 30, secondsLeft: 2 }));
  tell?.(download({ state: 'verifying' }));
  tell?.(download({ state: 'waiting', elsewhere: true }));
  expect(heard).toEqual([
    loading,
    { ...loading, stage: 'download', bytes: 20, totalBytes: 80, bytesPerSecond: 30, secondsLeft: 2 },
    { ...loading, stage: 'download', bytes: 10 },
  ]);
  watched.stop();
  expect(stopped).toBe(true);
});
