/** @file One raw `imageInference` task → a checked task, or everything that is wrong with it. Used by `tasks.ts` and `facade.ts`. */
import type { WireError } from '../base/errors.js';
import { CHECKED_PARAMETERS, DEFAULT_STEPS, IDENTITY, MAX_STEPS, PARAMETERS, TASK_PARAMETERS } from './parameters.js';
import { type Scope, property, report, reportInvalid, reportMissing, root } from './place.js';
import { type Properties, show } from './read.js';
import { relateTask } from './relations.js';
import { checkProperties, isComplete, warnOfUnknown } from './rules.js';
import { reportUnsupported } from './support.js';
import type { ImageInferenceTask } from './task.js';

/** The task types that run here. */
export const TASK_TYPES = ['imageInference'] as const;

/** The names that a task may have; everything else is warned of. */
export const KNOWN_NAMES: ReadonlySet<string> = new Set([...Object.keys(PARAMETERS), 'taskUUID', 'taskType']);

/** What came of one raw task. `taskUUID` is there whenever a valid one was sent, also when the task failed. */
export interface CheckedTask {
  readonly taskUUID?: string;
  readonly task?: ImageInferenceTask;
  readonly errors: readonly WireError[];
}

/** Checks everything that can be checked without knowing the model, and reports all problems, not the first. */
export function checkTask(read: Properties, dialect: Scope['dialect'], prefix: string): CheckedTask {
  const { values } = read;
  const errors: WireError[] = [];
  const start: Scope = { dialect, prefix, steps: stepsOf(values.get('steps')), errors, warnings: [] };
  const { taskUUID } = checkProperties(IDENTITY, values, root(withType(start, values))).valid;
  const scope: Scope = withType(taskUUID === undefined ? start : { ...start, prefix: '', taskUUID }, values);
  const identity = taskUUID === undefined ? {} : { taskUUID };

  if (!isKnownType(values.get('taskType'), scope)) return { ...identity, errors };
  const task = checkImageInference(read, scope);
  return {
    ...identity,
    errors,
    ...(task === undefined || taskUUID === undefined ? {} : { task: { ...task, taskUUID } }),
  };
}

function checkImageInference(read: Properties, scope: Scope): Omit<ImageInferenceTask, 'taskUUID'> | undefined {
  const place = root(scope);
  warnOfUnknown(read, KNOWN_NAMES, place);
  const carried = checkProperties(TASK_PARAMETERS, read.values, place);
  const others = checkProperties(CHECKED_PARAMETERS, read.values, place);
  const findings = { valid: { ...carried.valid, ...others.valid }, sent: new Set([...carried.sent, ...others.sent]) };
  relateTask(findings, place);
  reportUnsupported(PARAMETERS, findings, scope);
  if (!isComplete(carried.valid, 0, scope)) return undefined;
  return { taskType: 'imageInference', ...carried.valid, warnings: scope.warnings };
}

/** Errors name the task type as it was sent, as far as it is a name. */
function withType(scope: Scope, values: ReadonlyMap<string, unknown>): Scope {
  const type = values.get('taskType');
  return typeof type === 'string' && /^\w{1,64}$/.test(type) ? { ...scope, taskType: type } : scope;
}

/** Whether to go on as an `imageInference` task; a missing or senseless type does not hide the other problems. */
function isKnownType(type: unknown, scope: Scope): boolean {
  const place = property(root(scope), 'taskType');
  const expectation = { expected: `one of '${TASK_TYPES.join("', '")}'`, allowedValues: TASK_TYPES };
  if (type === undefined) reportMissing(place, 'string', expectation);
  else if (typeof type !== 'string') reportInvalid(place, 'string', type, expectation);
  else if (type !== 'imageInference') {
    const message = `Unsupported value for 'taskType': got ${show(type)}, expected ${expectation.expected}.`;
    report(place, 'unsupportedTaskType', message, { type: 'string', allowedValues: TASK_TYPES });
    return false;
  }
  return true;
}

/** The bound for `startStep` and its like. Steps that are invalid themselves bound nothing. */
function stepsOf(value: unknown): number {
  if (value === undefined) return DEFAULT_STEPS;
  const valid = typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_STEPS;
  return valid ? value : MAX_STEPS;
}
