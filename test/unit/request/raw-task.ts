/** @file A valid raw task for the tests of this folder, and what is wrong with variants of it. */
import type { WireError } from '../../../src/base/errors.js';
import { parseTasks } from '../../../src/request/tasks.js';
import type { ImageInferenceTask, Task } from '../../../src/request/task.js';

export const TASK_UUID = '3f2c8a9e-9c5b-4d1e-8f7a-0b1c2d3e4f50';
export const OTHER_UUID = '0190d6c5-3c8a-7e1b-9a2f-4b5c6d7e8f90';

/** A reference to a picture, of which only the form is looked at. */
export const PICTURE = 'https://example.org/picture.png';

export type Patch = Readonly<Record<string, unknown>>;

/** The smallest valid raw task, with `patch` over it; `undefined` in a patch takes a property away. */
export function rawTask(patch: Patch = {}): Record<string, unknown> {
  const base = {
    taskType: 'imageInference',
    taskUUID: TASK_UUID,
    positivePrompt: 'a red fox',
    model: 'sd15-tiny',
    width: 512,
    height: 768,
  };
  return Object.fromEntries(Object.entries({ ...base, ...patch }).filter(([, value]) => value !== undefined));
}

/** Errors of one task, without those that only say that a parameter has no effect yet. */
export function problemsOf(patch: Patch): readonly WireError[] {
  return parseTasks([rawTask(patch)]).errors.filter(({ code }) => code !== 'unsupportedParameter');
}

/** The one task that must come out. */
export function accepted(patch: Patch): ImageInferenceTask {
  return inference(onlyTask(rawTask(patch)));
}

/** The task of a raw task that must be accepted. */
export function onlyTask(raw: unknown): Task {
  const { tasks, errors } = parseTasks([raw]);
  const [first] = tasks;
  if (first === undefined) throw new Error(`refused: ${JSON.stringify(errors)}`);
  return first.task;
}

/** A task that must be of this type. */
export function inference(task: Task | undefined): ImageInferenceTask {
  if (task?.taskType === 'imageInference') return task;
  throw new Error(`got a task of type ${task?.taskType}`);
}
