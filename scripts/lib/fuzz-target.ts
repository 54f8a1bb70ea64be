/** @file What is fuzzed: a reader of outside data with what must hold of all that it accepts. */
import { DarkroomError } from '../../src/base/errors.js';
import type { Random } from './fuzz-random.js';

export type Verdict = 'accepted' | 'refused';

export interface Target {
  readonly kind: string;
  /** Longer than this is a defect; default: what the run says. */
  readonly limitMs?: number;
  /** Makes one input, reads it, and judges what came of it. Throws what is a defect. */
  run(random: Random): Promise<Verdict>;
}

/** Throws unless `condition` holds of something that was accepted. */
export function must(condition: boolean, what: () => string): void {
  if (!condition) throw new Error(`accepted what is wrong: ${what()}`);
}

/** Reads, and checks what was accepted. A `DarkroomError` is a refusal, but `internalError` is a defect, as is any other error. */
export async function judge<T>(
  read: () => T | Promise<T>,
  check: (value: T) => void | Promise<void>,
): Promise<Verdict> {
  const read_ = await attempt(read);
  if (read_ === undefined) return 'refused';
  await check(read_.value);
  return 'accepted';
}

/** What was read; `undefined` where it was refused. */
export async function attempt<T>(read: () => T | Promise<T>): Promise<{ readonly value: T } | undefined> {
  try {
    return { value: await read() };
  } catch (error) {
    if (!(error instanceof DarkroomError) || error.code === 'internalError') throw error;
    if (error.message.length > 20_000)
      throw new Error(`a message of ${error.message.length} characters`, { cause: error });
    return undefined;
  }
}
