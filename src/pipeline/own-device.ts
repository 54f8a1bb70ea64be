/**
 * @file The one device of an engine, with the models on it: opened when it is first needed, given up when it is lost or full of what former tasks
 * left. Order and errors only.
 */
import { DarkroomError, fail } from '../base/errors.js';
import { asOutOfMemory, isOutOfMemory, isShortage, outOfMemory } from '../runtime/out-of-memory.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Library } from './library.js';

export interface OwnDevice {
  /** The device; opens one if there is none, or the last one is lost. @throws what opening one throws; disposed, also while it opens */
  get(): Promise<Runtime>;
  /**
   * To be called between tasks, before one of this kind (what decides its sizes). Gives the device up where another one is the better place: the
   * CPU that stands in for a lost GPU, once there is a GPU again; a GPU that is full of buffers of other kinds, which ONNX Runtime never frees.
   */
  prepare(kind: string): Promise<void>;
  /** The device if it is there already. */
  ready(): Runtime | undefined;
  /** Whether tasks before the one at hand ran on it: their buffers are there, which ONNX Runtime never frees. */
  isWorn(): boolean;
  /** The models that are open on this device; another library once the device is given up. */
  library(): Library;
  /** Gives the device up, with all that was made on it: the next use opens a new one. */
  forget(): Promise<void>;
  /**
   * Why something failed: on a lost device everything does, each thing in its own words, often before the loss itself is heard of; and on one without
   * memory for something, what is done with it.
   * @returns `outOfMemory` where memory was the reason, of a loss too; else `deviceLost` after a loss, else `error` itself
   */
  reasonOf(error: unknown): Promise<unknown>;
  /** Gives it up for good. */
  dispose(): Promise<void>;
}

/** How long the news of a loss may come after the failures that it causes. */
const NEWS_MS = 200;
/** How long things on a given-up device may take to be freed: on a lost one ONNX Runtime may never answer. */
const RELEASE_MS = 5_000;

/** How long the CPU stands in for a lost GPU before it is looked for again: browsers keep a page from its GPU for about so long. */
const REFUGE_MS = 60_000;
const SPARE_BYTES = 2 ** 30;

export interface OwnDeviceParts {
  /** Opens a new device. */
  readonly open: () => Promise<Runtime>;
  /** Of the models on one device. */
  readonly createLibrary: () => Library;
  /** Whether `open` may use a GPU and there is one. */
  readonly hasGpu: () => Promise<boolean>;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Bytes of buffers of other kinds of tasks that may stay besides as much again as one kind takes; default 1 GiB. */
  readonly spareBytes?: number | undefined;
}

export function createOwnDevice(parts: OwnDeviceParts): OwnDevice {
  const { open, createLibrary, hasGpu, now, spareBytes = SPARE_BYTES } = parts;
  let current: Opened | undefined;
  let library = createLibrary();
  let disposed = false;
  let hadGpu = false;
  let kindAtHand: string | undefined;
  let ended: Promise<void> | undefined;

  const start = (): Opened => {
    const kinds = kindAtHand === undefined ? [] : [kindAtHand];
    const opened: Opened = { runtime: open(), kinds: new Set(kinds), tasks: kinds.length };
    opened.runtime.then(
      (runtime) => {
        opened.ready = runtime;
        if (runtime.info.backend === 'webgpu') hadGpu = true;
        else if (hadGpu) opened.refugeUntil = now() + REFUGE_MS;
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
      const runtime = await current.runtime;
      if (disposed) throw fail('disposed', 'This engine was disposed.');
      return runtime;
    },
    async prepare(kind) {
      kindAtHand = kind;
      if (current?.ready === undefined) return;
      if (await isOutlived(current, { hasGpu, now })) await forget();
      else if (isFull(current, current.ready.memory().gpuBytes, kind, spareBytes)) await forget();
      else {
        current.kinds.add(kind);
        current.tasks++;
      }
    },
    ready: () => current?.ready,
    isWorn: () => (current?.tasks ?? 0) > 1,
    library: () => library,
    forget,
    async reasonOf(error) {
      if (!mayBeDevice(error)) return error;
      if (current?.ready === undefined) return asOutOfMemory(error);
      const { info, lost, shortage } = current.ready;
      const early = shortage();
      if (early?.certain === true) return outOfMemory(early.message, error);
      const isKnown = error instanceof DarkroomError && error.code === 'deviceLost';
      const why = isKnown ? error.message : await within(info.backend === 'wasm' ? 0 : NEWS_MS, lost);
      const short = shortage();
      if (short !== undefined && (short.certain || why === undefined)) return outOfMemory(short.message, error);
      if (why === undefined) return asOutOfMemory(error);
      if (isOutOfMemory(why)) return outOfMemory(why, error);
      // What else is said of memory on a lost device is as likely one of the many ways in which all things fail on it.
      if (error instanceof DarkroomError && isShortage(error.cause)) return error;
      return isKnown ? error : fail('deviceLost', why, { cause: error });
    },
    dispose() {
      disposed = true;
      return (ended ??= within(RELEASE_MS, free(current, library))); // still there for those who count what is left
    },
  };
}

/** A device that was asked for. */
interface Opened {
  readonly runtime: Promise<Runtime>;
  ready?: Runtime;
  /** Why it is lost. */
  lost?: string;
  /** The CPU in the place of a lost GPU: when to look for a GPU again. */
  refugeUntil?: number;
  /** Kinds of tasks that left their buffers here. */
  readonly kinds: Set<string>;
  /** How many tasks began on it, also in the middle. */
  tasks: number;
  /** Bytes that were held after those of the first kind alone. */
  firstBytes?: number;
}

/** Whether the CPU stood in for a GPU long enough, and there is a GPU again. */
async function isOutlived(opened: Opened, { hasGpu, now }: Pick<OwnDeviceParts, 'hasGpu' | 'now'>): Promise<boolean> {
  if (opened.refugeUntil === undefined || now() < opened.refugeUntil) return false;
  opened.refugeUntil = now() + REFUGE_MS;
  return hasGpu();
}

/**
 * Whether so much was left by tasks of other kinds that this one had better begin on an empty device. Tasks whose buffers are there need no
 * others, so that sizes that take turns may stay; of what is held, no more than three times the largest task's and the spare bytes.
 */
function isFull(opened: Opened, heldBytes: number, kind: string, spareBytes: number): boolean {
  const { kinds } = opened;
  if (kinds.size === 0 || kinds.has(kind)) return false;
  opened.firstBytes ??= heldBytes;
  return heldBytes > 2 * opened.firstBytes + spareBytes;
}

/** Whether a device that is lost, or short of memory, can show as this: not where the code says what it was that went wrong. */
function mayBeDevice(error: unknown): boolean {
  if (!(error instanceof DarkroomError)) return true;
  return ['runtimeFailed', 'outOfMemory', 'notFinite', 'internalError', 'deviceLost'].includes(error.code);
}

/** What `work` gives, or `undefined` if that takes longer than `ms`. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
