/** @file The one device of an engine, with the models on it: opened when it is first needed, given up when it is lost or full. Order and errors only. */
import { DarkroomError, fail } from '../base/errors.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Library } from './library.js';

export interface OwnDevice {
  /** The device; opens one if there is none, or the last one is lost. @throws what opening one throws, disposed */
  get(): Promise<Runtime>;
  /** The device if it is there already. */
  ready(): Runtime | undefined;
  /** The models that are open on this device; another library once the device is given up. */
  library(): Library;
  /** Gives the device up, with all that was made on it: the next use opens a new one. */
  forget(): Promise<void>;
  /**
   * Why something failed: on a lost device everything does, each thing in its own words, often before the loss itself is heard of.
   * @returns `deviceLost` in that case, else `error` itself
   */
  reasonOf(error: unknown): Promise<unknown>;
  /** Gives it up for good. */
  dispose(): Promise<void>;
}

/** How long the news of a loss may come after the failures that it causes. */
const NEWS_MS = 200;
/** How long things on a given-up device may take to be freed: on a lost one ONNX Runtime may never answer. */
const RELEASE_MS = 5_000;

/** @param open a new device @param createLibrary of the models on one device */
export function createOwnDevice(open: () => Promise<Runtime>, createLibrary: () => Library): OwnDevice {
  let current: Opened | undefined;
  let library = createLibrary();
  let disposed = false;

  const start = (): Opened => {
    const opened: Opened = { runtime: open() };
    opened.runtime.then(
      (runtime) => {
        opened.ready = runtime;
        void runtime.lost.then((why) => (opened.lost = why));
      },
      () => {
        if (current === opened) current = undefined; // asked for again by the next task
      },
    );
    return opened;
  };

  const free = async (old: Opened | undefined, shelf: Library): Promise<void> => {
    // Releasing on a lost device may fail; its memory is gone anyway.
    await shelf.clear().catch(() => undefined);
    await old?.runtime.then((runtime) => runtime.dispose()).catch(() => undefined);
  };

  const forget = async (): Promise<void> => {
    const given = free(current, library);
    [current, library] = [undefined, createLibrary()];
    await within(RELEASE_MS, given);
  };

  return {
    async get() {
      if (disposed) throw fail('disposed', 'This engine was disposed.');
      if (current?.lost !== undefined) await forget();
      current ??= start();
      return current.runtime;
    },
    ready: () => current?.ready,
    library: () => library,
    forget,
    async reasonOf(error) {
      if (current?.ready === undefined || !mayBeLoss(error)) return error;
      const { lost } = current.ready;
      const why = await within(current.ready.info.backend === 'wasm' ? 0 : NEWS_MS, lost);
      return why === undefined ? error : fail('deviceLost', why, { cause: error });
    },
    async dispose() {
      disposed = true;
      await within(RELEASE_MS, free(current, library)); // still there for those who count what is left
    },
  };
}

/** A device that was asked for. */
interface Opened {
  readonly runtime: Promise<Runtime>;
  ready?: Runtime;
  /** Why it is lost. */
  lost?: string;
}

/** Whether a lost device can show as this: not where the code says what it was that went wrong. */
function mayBeLoss(error: unknown): boolean {
  if (!(error instanceof DarkroomError)) return true;
  return ['runtimeFailed', 'outOfMemory', 'notFinite', 'internalError'].includes(error.code);
}

/** What `work` gives, or `undefined` if that takes longer than `ms`. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
