/** @file Darkrooms over fake workers: made, disposed of after each test, and asked why they refuse. */
import { afterEach, expect, vi } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { createDarkroom } from '../../../src/client/darkroom.js';
import type { Darkroom, DarkroomOptions } from '../../../src/client/types.js';
import type { FakeWorker } from './fake-worker.js';

export const REQUEST = { positivePrompt: 'a red house', model: 'darkroom:1@1' } as const;
export const TASK = {
  ...REQUEST,
  taskType: 'imageInference',
  taskUUID: '11111111-1111-4111-8111-111111111111',
} as const;

const made: Darkroom[] = [];
afterEach(async () => {
  await Promise.all(made.splice(0).map((darkroom) => darkroom.dispose()));
});

export interface Bench {
  readonly darkroom: Darkroom;
  /** Every worker so far. */
  readonly workers: readonly FakeWorker[];
}

/** A Darkroom whose n-th worker (from 0) is made by `make`. */
export function setUp(make: (n: number) => FakeWorker, options: DarkroomOptions = {}): Bench {
  const workers: FakeWorker[] = [];
  const worker = (): FakeWorker => {
    const next = make(workers.length);
    workers.push(next);
    return next;
  };
  const darkroom = createDarkroom({ ...options, worker });
  made.push(darkroom);
  return { darkroom, workers };
}

/** What the promise rejects with; fails the test when that is not a `DarkroomError`. */
export async function refusal(promise: Promise<unknown>): Promise<DarkroomError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof DarkroomError) return error;
  throw new Error(`expected a DarkroomError, got ${String(error)}`);
}

export const untilCalled = (worker: () => FakeWorker | undefined, call: string): Promise<void> =>
  vi.waitFor(() => expect(worker()?.calls).toContain(call), { interval: 2 });
