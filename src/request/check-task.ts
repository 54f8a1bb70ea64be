/** @file One raw task → a checked task, or everything that is wrong with it. Used by `tasks.ts` and `facade.ts`. */
import type { WireError } from '../base/errors.js';
import { PREPROCESS_CHECKED, PREPROCESS_PARAMETERS, UPLOAD_PARAMETERS } from './other-parameters.js';
import { CHECKED_PARAMETERS, DEFAULT_STEPS, IDENTITY, MAX_STEPS, PARAMETERS, TASK_PARAMETERS } from './parameters.js';
import { type Scope, property, report, reportInvalid, reportMissing, root } from './place.js';
import { type Properties, show } from './read.js';
import { relatePreprocess, relateTask } from './relations.js';
import { type Rules, checkProperties, isComplete, warnOfUnknown } from './rules.js';
import { reportUnsupported } from './support.js';
import type { ImageInferenceTask, ImageUploadTask, PreprocessTask, PreprocessTaskType, Task } from './task.js';

/** The task types that run here. */
export const TASK_TYPES = [
  'imageInference',
  'controlNetPreprocess',
  'imageControlNetPreProcess',
  'imageUpload',
] as const satisfies readonly Task['taskType'][];

type TaskType = (typeof TASK_TYPES)[number];

const IDENTITY_NAMES = ['taskUUID', 'taskType'];
const PREPROCESS_RULES = { ...PREPROCESS_PARAMETERS, ...PREPROCESS_CHECKED };

/** The rules of each type; names without one are warned of. */
const RULES: Readonly<Record<TaskType, Rules>> = {
  imageInference: PARAMETERS,
  controlNetPreprocess: PREPROCESS_RULES,
  imageControlNetPreProcess: PREPROCESS_RULES,
  imageUpload: UPLOAD_PARAMETERS,
};

/** The names that a task of any type may have: what is read of an object before its type is known. */
export const KNOWN_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(RULES).flatMap((rules) => Object.keys(rules)),
  ...IDENTITY_NAMES,
]);

/** What came of one raw task. `taskUUID` is there whenever a valid one was sent, also when the task failed. */
export interface CheckedTask {
  readonly taskUUID?: string;
  readonly task?: Task;
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

  const type = typeOf(values.get('taskType'), scope);
  if (type === undefined) return { ...identity, errors };
  warnOfOthers(read, type, scope);
  const task = checkAs(type, read, scope);
  return {
    ...identity,
    errors,
    ...(task === undefined || taskUUID === undefined ? {} : { task: { ...task, taskUUID } }),
  };
}

type Unnamed<T extends Task> = Omit<T, 'taskUUID'>;

function checkAs(
  type: TaskType,
  read: Properties,
  scope: Scope,
): Unnamed<ImageInferenceTask> | Unnamed<ImageUploadTask> | Unnamed<PreprocessTask> | undefined {
  switch (type) {
    case 'imageInference':
      return checkImageInference(read, scope);
    case 'imageUpload':
      return checkImageUpload(read, scope);
    case 'controlNetPreprocess':
    case 'imageControlNetPreProcess':
      return checkPreprocess(type, read, scope);
    default:
      return type satisfies never;
  }
}

function checkImageInference(read: Properties, scope: Scope): Unnamed<ImageInferenceTask> | undefined {
  const place = root(scope);
  const carried = checkProperties(TASK_PARAMETERS, read.values, place);
  const others = checkProperties(CHECKED_PARAMETERS, read.values, place);
  const findings = { valid: { ...carried.valid, ...others.valid }, sent: new Set([...carried.sent, ...others.sent]) };
  relateTask(findings, place);
  reportUnsupported(PARAMETERS, findings, scope);
  if (!isComplete(carried.valid, 0, scope)) return undefined;
  return { taskType: 'imageInference', ...carried.valid, warnings: scope.warnings };
}

function checkImageUpload(read: Properties, scope: Scope): Unnamed<ImageUploadTask> | undefined {
  const { valid } = checkProperties(UPLOAD_PARAMETERS, read.values, root(scope));
  if (!isComplete(valid, 0, scope)) return undefined;
  return { taskType: 'imageUpload', ...valid, warnings: scope.warnings };
}

function checkPreprocess(
  taskType: PreprocessTaskType,
  read: Properties,
  scope: Scope,
): Unnamed<PreprocessTask> | undefined {
  const place = root(scope);
  const carried = checkProperties(PREPROCESS_PARAMETERS, read.values, place);
  relatePreprocess(carried, place);
  reportUnsupported(PREPROCESS_RULES, checkProperties(PREPROCESS_CHECKED, read.values, place), scope);
  if (!isComplete(carried.valid, 0, scope)) return undefined;
  return { taskType, ...carried.valid, warnings: scope.warnings };
}

/** Of names that only tasks of another type have, nothing is used here either. */
function warnOfOthers(read: Properties, type: TaskType, scope: Scope): void {
  const known = new Set([...Object.keys(RULES[type]), ...IDENTITY_NAMES]);
  const foreign = [...read.values.keys()].filter((name) => !known.has(name));
  warnOfUnknown({ values: read.values, others: [...read.others, ...foreign] }, known, root(scope));
}

/** Errors name the task type as it was sent, as far as it is a name. */
function withType(scope: Scope, values: ReadonlyMap<string, unknown>): Scope {
  const type = values.get('taskType');
  return typeof type === 'string' && /^\w{1,64}$/.test(type) ? { ...scope, taskType: type } : scope;
}

/** The type to go on as; a missing or senseless one is reported, and does not hide the other problems of a picture from a prompt. */
function typeOf(type: unknown, scope: Scope): TaskType | undefined {
  const place = property(root(scope), 'taskType');
  const expectation = { expected: `one of '${TASK_TYPES.join("', '")}'`, allowedValues: TASK_TYPES };
  const known = TASK_TYPES.find((name) => name === type);
  if (known !== undefined) return known;
  if (type === undefined) reportMissing(place, 'string', expectation);
  else if (typeof type !== 'string') reportInvalid(place, 'string', type, expectation);
  else {
    const message = `Unsupported value for 'taskType': got ${show(type)}, expected ${expectation.expected}.`;
    report(place, 'unsupportedTaskType', message, { type: 'string', allowedValues: TASK_TYPES });
    return undefined;
  }
  return 'imageInference';
}

/** The bound for `startStep` and its like. Steps that are invalid themselves bound nothing. */
function stepsOf(value: unknown): number {
  if (value === undefined) return DEFAULT_STEPS;
  const valid = typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_STEPS;
  return valid ? value : MAX_STEPS;
}
