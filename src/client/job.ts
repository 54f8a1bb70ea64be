/** @file One call of the worker's `run`: its events to the caller, its cancellation, and its pictures collected. May import base and the files beside it. */
import { proxy } from 'comlink';
import { fail, type WireError } from '../base/errors.js';
import { toGuideResult, toImageResult, toUploadResult, urlOf, type UrlLedger } from './deliver.js';
import { withResolvers } from './queue.js';
import type { RunOptions, TaskResult, Timeouts } from './types.js';
import type { FinishedPicture, WireEvent } from './wire.js';
import { unwrap, type WorkerLink } from './worker-link.js';

/** What came of a job: pictures in the order of the tasks, and the errors of tasks that failed. */
export interface JobOutcome {
  readonly pictures: readonly TaskResult[];
  readonly errors: readonly WireError[];
}

const SPENT = 'ONNX Runtime ended in an error, and its worker with it; the next call starts a new one.';

/** Events travel on a port of their own and may arrive after the answer; none takes this long. */
const STRAGGLER_MS = 10_000;

/**
 * Runs `tasks` in the worker. When `signal` fires, asks it to stop, and ends the worker if it does not within `cancelMs`.
 * @throws `DarkroomError` with what the worker refused as a whole, or why the worker ended.
 */
export async function runJob(
  link: WorkerLink,
  tasks: unknown,
  options: RunOptions,
  { urls, timeouts }: { readonly urls: UrlLedger; readonly timeouts: Timeouts },
): Promise<JobOutcome> {
  const jobId = crypto.randomUUID();
  const inbox = createInbox(link, options, urls);
  const { signal } = options;
  let impatience: ReturnType<typeof setTimeout> | undefined;
  const cancel = (): void => {
    inbox.close();
    void link.call((worker) => worker.cancel(jobId)).catch(() => undefined); // a dead worker has stopped too
    impatience = setTimeout(() => link.end(fail('aborted', 'The task was aborted.')), timeouts.cancelMs);
  };
  signal?.addEventListener('abort', cancel);
  try {
    const answer = link.call((worker) => worker.run(jobId, tasks, proxy(inbox.receive)));
    if (signal?.aborted === true) cancel();
    const outcome = unwrap(await answer);
    const allHere = outcome.pictures.every((finished) => inbox.has(finished));
    const arriving = Promise.all(outcome.pictures.map((finished) => inbox.picture(finished)));
    arriving.catch(() => undefined); // told below
    const pictures = await (allHere ? arriving : link.call(() => arriving)); // a worker that ends sends no more of them
    if (outcome.spent === true) link.end(fail('runtimeFailed', SPENT));
    return { pictures, errors: outcome.errors };
  } catch (error) {
    inbox.discard();
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
    clearTimeout(impatience);
    inbox.close();
  }
}

interface Inbox {
  /** Takes an event from the worker. Never throws: the worker would see it. */
  readonly receive: (event: WireEvent) => void;
  /** Whether the picture has come. */
  has(finished: FinishedPicture): boolean;
  /** Waits for the picture, which may still be on its way. Warnings that came after it are added to its own. */
  picture(finished: FinishedPicture): Promise<TaskResult>;
  /** Later events are dropped. */
  close(): void;
  /** Frees the URLs of pictures that the caller never got to see. */
  discard(): void;
}

function createInbox(link: WorkerLink, options: RunOptions, urls: UrlLedger): Inbox {
  const arrived = new Map<string, TaskResult>();
  const awaited = new Map<string, (picture: TaskResult) => void>();
  let open = true;

  function take<T extends TaskResult>(imageUUID: string, result: T): T {
    arrived.set(imageUUID, result);
    awaited.get(imageUUID)?.(result);
    return result;
  }

  function find(imageUUID: string): Promise<TaskResult> {
    const here = arrived.get(imageUUID);
    if (here !== undefined) return Promise.resolve(here);
    const { promise, resolve, reject } = withResolvers<TaskResult>();
    awaited.set(imageUUID, resolve);
    const lost = fail('internalError', `The worker finished picture ${imageUUID} but it did not arrive.`);
    const timer = setTimeout(() => reject(lost), STRAGGLER_MS);
    return promise.finally(() => clearTimeout(timer));
  }

  return {
    receive(event) {
      link.heard();
      if (!open) return;
      switch (event.kind) {
        case 'progress':
          return notify(options.onProgress, event);
        case 'preview':
          return notify(options.onPreview, event);
        case 'picture':
          return notify(options.onPicture, take(event.picture.imageUUID, toImageResult(event.picture, urls)));
        case 'guide':
          return void take(event.guide.guideImageUUID, toGuideResult(event.guide, urls));
        case 'upload':
          return void take(event.upload.imageUUID, toUploadResult(event.upload, urls));
        case 'evict':
          return notify(options.onEvict, event);
        default:
          event satisfies never;
      }
    },
    has: ({ imageUUID }) => arrived.has(imageUUID),
    async picture({ imageUUID, warnings = [] }) {
      const result = await find(imageUUID);
      return warnings.length === 0 ? result : { ...result, warnings: [...result.warnings, ...warnings] };
    },
    close() {
      open = false;
    },
    discard() {
      if (options.onPicture !== undefined) return;
      for (const result of arrived.values()) releaseUrl(result, urls);
    },
  };
}

export function releaseUrl(result: TaskResult, urls: UrlLedger): void {
  const url = urlOf(result);
  if (url !== undefined) urls.release(url);
}

/** Calls a listener; what it throws is reported like any listener's error and does not stop the picture. */
export function notify<T>(listener: ((value: T) => void) | undefined, value: T): void {
  try {
    listener?.(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
