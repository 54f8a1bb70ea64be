/** @file An array of raw tasks (the cloud's wire form, any JSON value) → checked tasks and all errors. Never throws. */
import type { WireError } from '../base/errors.js';
import { KNOWN_NAMES, checkTask } from './check-task.js';
import { documentationOf } from './place.js';
import { readItems, readProperties, show } from './read.js';
import type { Task } from './task.js';

/** The most tasks of one array; more is a mistake or an attack. */
export const MAX_TASKS = 1000;

/** Tasks that may run, each with its place in the array, and what is wrong with the others. */
export interface ParsedTasks {
  readonly tasks: readonly { readonly index: number; readonly task: Task }[];
  readonly errors: readonly WireError[];
}

/**
 * Checks an array of raw task objects. Tasks are independent: one that fails does not keep the others from running,
 * and all problems of all tasks are reported at once. Of tasks with the same `taskUUID` only the first may run.
 *
 * A single object instead of an array is refused, as the cloud's transport does ("always an array of task objects").
 * Never throws, whatever the input: problems are in `errors`, with codes `invalid…`, `missing…`, `conflict…` and
 * `unsupported…`; `invalidRequest` when the array itself is the problem, `invalidTask` when an entry is no object.
 *
 * @example
 * const { tasks, errors } = parseTasks([
 *   { taskType: 'imageInference', taskUUID, positivePrompt: 'a red fox', model: 'sd15', width: 512, height: 512 },
 * ]);
 */
export function parseTasks(input: unknown, options: { readonly maxTasks?: number } = {}): ParsedTasks {
  const { maxTasks = MAX_TASKS } = options;
  const read = readItems(input, maxTasks);
  if (read === undefined || read.length < 1 || read.length > maxTasks) {
    return { tasks: [], errors: [requestError(input, read?.length, maxTasks)] };
  }

  const tasks: { index: number; task: Task }[] = [];
  const errors: WireError[] = [];
  const firstWith = new Map<string, number>();
  read.items.forEach((raw, index) => {
    const prefix = read.length === 1 ? '' : `tasks[${index}]: `;
    const properties = readProperties(raw, KNOWN_NAMES);
    if (properties === undefined) {
      errors.push({ code: 'invalidTask', message: `${prefix}Invalid task: got ${show(raw)}, expected an object.` });
      return;
    }
    const checked = checkTask(properties, 'wire', prefix);
    errors.push(...checked.errors);
    const conflict = conflictWith(firstWith, checked.taskUUID, index);
    if (conflict !== undefined) errors.push(conflict);
    else if (checked.task !== undefined) tasks.push({ index, task: checked.task });
  });
  return { tasks, errors };
}

/** Error `conflictTaskUUID` when an earlier task has the same UUID (capitals do not matter: RFC 9562 §4). */
function conflictWith(
  firstWith: Map<string, number>,
  taskUUID: string | undefined,
  index: number,
): WireError | undefined {
  if (taskUUID === undefined) return undefined;
  const key = taskUUID.toLowerCase();
  const first = firstWith.get(key);
  if (first === undefined) {
    firstWith.set(key, index);
    return undefined;
  }
  const message = `tasks[${index}]: 'taskUUID' ${taskUUID} is already that of tasks[${first}]: expected one per task.`;
  const parameter = 'taskUUID';
  return { code: 'conflictTaskUUID', message, parameter, documentation: documentationOf(parameter), taskUUID };
}

function requestError(input: unknown, length: number | undefined, max: number): WireError {
  const got = length === undefined ? show(input) : `${length} tasks`;
  const message = `Invalid request: got ${got}, expected an array of 1 to ${max} tasks.`;
  const limits = { type: 'object[]', min: 1, max };
  const hint = got === 'an object' ? { hint: 'Put the task into an array: [task].' } : {};
  return { code: 'invalidRequest', message, ...limits, ...hint };
}
