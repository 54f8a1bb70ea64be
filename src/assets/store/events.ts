/** @file What is told of downloads: to listeners in this worker, and to other tabs that wait for the same file. */
import { fields } from '../../base/fields.js';
import { publicUrl } from '../http.js';
import { createRate, secondsLeft } from '../download/rate.js';
import type { FileOfModel } from './context.js';

export type DownloadState = 'waiting' | 'downloading' | 'verifying' | 'done' | 'failed';

/** Progress of one file; plain data. */
export interface DownloadEvent {
  readonly kind: 'download';
  /** The store's identity of the model, and what it is called. */
  readonly model: string;
  readonly title: string;
  /** URL without query. */
  readonly file: string;
  /** `waiting`: another tab downloads it, whose progress follows. */
  readonly state: DownloadState;
  /** Bytes there, those of earlier visits (`resumedBytes`) included. */
  readonly bytes: number;
  /** Absent where the server does not say. */
  readonly totalBytes?: number;
  readonly resumedBytes: number;
  /** Mean of the last seconds; absent until it can be told. */
  readonly bytesPerSecond?: number;
  /** Until this file is there. */
  readonly secondsLeft?: number;
  /** Whether another tab does it. */
  readonly elsewhere: boolean;
}

/** A `BroadcastChannel`, or the like of it. */
export interface Channel {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}

export type OnDownload = (event: DownloadEvent) => void;

export interface DownloadEvents {
  /** Returns how to stop listening. */
  subscribe(listener: OnDownload): () => void;
  /** A teller for one download: it computes the speed and leaves out what comes too fast to be seen. */
  of(file: FileOfModel): (state: DownloadState, bytes: number, totalBytes: number | undefined, resumed: number) => void;
}

const EVERY_MS = 100;

/** @param channel absent: other tabs hear nothing */
export function createDownloadEvents(now: () => number, channel?: Channel): DownloadEvents {
  const listeners = new Set<OnDownload>();
  const tell = (event: DownloadEvent): void => {
    for (const listener of listeners) listener(event);
  };
  channel?.addEventListener('message', ({ data }) => {
    if (listeners.size === 0) return;
    const event = parseEvent(data);
    if (event !== undefined) tell({ ...event, elsewhere: true });
  });
  return {
    subscribe(listener) {
      const own: OnDownload = (event) => listener(event); // the same function may be given twice
      listeners.add(own);
      return () => listeners.delete(own);
    },
    of({ url, model }) {
      const rate = createRate(now);
      let lastState: DownloadState | undefined;
      let toldAt = -Infinity;
      return (state, bytes, totalBytes, resumedBytes) => {
        const bytesPerSecond = rate.at(bytes);
        const time = now();
        if (state === lastState && time >= toldAt && time - toldAt < EVERY_MS) return; // clocks may be set back
        lastState = state;
        toldAt = time;
        const left = secondsLeft(bytes, totalBytes, bytesPerSecond);
        const event: DownloadEvent = {
          kind: 'download',
          model: model.id,
          title: model.title,
          file: publicUrl(url),
          state,
          bytes,
          resumedBytes,
          elsewhere: false,
          ...(totalBytes === undefined ? {} : { totalBytes }),
          ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
          ...(left === undefined ? {} : { secondsLeft: left }),
        };
        tell(event);
        channel?.postMessage(event);
      };
    },
  };
}

const STATES = ['waiting', 'downloading', 'verifying', 'done', 'failed'] as const satisfies readonly DownloadState[];

/** Another tab may run another version; what does not fit is not for us. */
function parseEvent(data: unknown): DownloadEvent | undefined {
  try {
    const f = fields(data, 'a message of another tab');
    if (f.text('kind') !== 'download') return undefined;
    const optional = (key: 'totalBytes' | 'bytesPerSecond' | 'secondsLeft'): Partial<Record<typeof key, number>> =>
      f.has(key) ? { [key]: f.number(key, undefined, { min: 0 }) } : {};
    return {
      kind: 'download',
      model: f.text('model'),
      title: f.text('title'),
      file: f.text('file'),
      state: f.oneOf('state', STATES),
      bytes: f.number('bytes'),
      resumedBytes: f.number('resumedBytes'),
      elsewhere: true,
      ...optional('totalBytes'),
      ...optional('bytesPerSecond'),
      ...optional('secondsLeft'),
    };
  } catch {
    return undefined; // not a message of ours
  }
}
