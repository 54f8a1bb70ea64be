/** @file Entries of a request's lists (`lora[]`, `embeddings[]`, `controlNet[]`): which of them act, and errors that say which one they are about. */
import { DarkroomError, type ErrorCode, type WireError } from '../base/errors.js';
import type { WeightedModel } from '../request/task.js';

export interface Entry<T> {
  /** Where it is in the request: `lora[1]`. */
  readonly place: string;
  readonly value: T;
}

export function entriesOf<T>(parameter: string, list: readonly T[]): readonly Entry<T>[] {
  return list.map((value, i) => ({ place: `${parameter}[${i}]`, value }));
}

/** Entries of weight 0 ask for nothing: not even that their file is there. */
export function actingEntries<T extends WeightedModel>(parameter: string, list: readonly T[]): readonly Entry<T>[] {
  return entriesOf(parameter, list).filter(({ value }) => value.weight !== 0);
}

/** Not about any entry, wherever they are met. */
const OF_NO_ENTRY: readonly ErrorCode[] = ['aborted', 'deviceLost', 'deviceUnavailable', 'outOfMemory'];

/** What `work` throws, said of an entry: `lora[1]: style.safetensors is a checkpoint, not a LoRA.` */
export function ofEntry<T>({ place }: Entry<unknown>, work: () => T | Promise<T>): Promise<T> {
  return saidOf(place, {}, work);
}

/** What `work` throws, said of a parameter that names another model: `vae: style.safetensors is a LoRA, not a VAE.` */
export function ofParameter<T>(parameter: string, work: () => T | Promise<T>): Promise<T> {
  return saidOf(parameter, { parameter }, work);
}

async function saidOf<T>(place: string, fields: Partial<WireError>, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DarkroomError) || OF_NO_ENTRY.includes(error.code)) throw error;
    const [first, ...others] = error.errors;
    if (first.message.startsWith(place)) throw error;
    const said = { ...first, ...fields, message: `${place}: ${first.message}` };
    throw new DarkroomError([said, ...others], { cause: error.cause });
  }
}
