/** @file What is told of steps: how long they are expected to take, then how long they took, on a clock of the test's own. */
import { expect, it } from 'vitest';
import type { ProgressEvent } from '../../../src/pipeline/events.js';
import { createProgress } from '../../../src/pipeline/progress.js';

function watch() {
  let ms = 0;
  const events: ProgressEvent[] = [];
  const progress = createProgress(
    { taskUUID: 'a', numberResults: 1 },
    (event) => void (event.kind === 'progress' && events.push(event)),
    () => ms,
  );
  /** A step that takes so long ends. */
  const step = (n: number, of: number, takes: number): void => {
    ms += takes;
    progress.step(n, of);
  };
  const told = () => events.map(({ step, secondsPerStep, secondsLeft }) => [step, secondsPerStep, secondsLeft]);
  return { progress, step, told };
}

it('tells the mean of the last five steps but the first, which compiles', async () => {
  const { progress, step, told } = watch();
  await progress.stage('denoise', () => {
    [60_000, 2000, 4000, 4000, 4000, 4000, 4000].forEach((takes, i) => step(i + 1, 10, takes));
    return Promise.resolve();
  });
  expect(told()).toEqual([
    [undefined, undefined, undefined],
    [1, undefined, undefined],
    [2, 2, 16],
    [3, 3, 21],
    [4, 10 / 3, 20],
    [5, 3.5, 17.5],
    [6, 3.6, 14.4],
    [7, 4, 12],
  ]);
  expect(progress.secondsPerStep()).toBe(4);
});

it('tells what is expected before that, again with what was learned from the first step', async () => {
  const { progress, step, told } = watch();
  let expected = 8;
  await progress.stage('denoise', () => {
    progress.expect(() => expected, 4);
    expected = 5;
    step(1, 4, 30_000);
    step(2, 4, 6000);
    return Promise.resolve();
  });
  expect(told()).toEqual([
    [undefined, undefined, undefined],
    [undefined, 8, 32],
    [1, 5, 15],
    [2, 6, 12],
  ]);
});

it('says nothing where nothing is known, and forgets what was expected of another stage', async () => {
  const { progress, step, told } = watch();
  await progress.stage('denoise', () => {
    progress.expect(() => undefined, 1);
    step(1, 1, 1000);
    return Promise.resolve();
  });
  expect(progress.secondsPerStep()).toBeUndefined();
  await progress.stage('denoise', () => {
    progress.expect(() => 7, 1);
    return Promise.resolve();
  });
  await progress.stage('decode', () => {
    step(1, 2, 1000);
    return Promise.resolve();
  });
  const none = [undefined, undefined, undefined];
  expect(told()).toEqual([none, [1, undefined, undefined], none, [undefined, 7, 7], none, [1, undefined, undefined]]);
});
