/** @file The argument of `imageInference()` and its like → a checked task, with the liberties of the cloud's JavaScript SDK. */
import { DarkroomError, type WireError, assert, fail } from '../base/errors.js';
import { KNOWN_NAMES, checkTask } from './check-task.js';
import { readProperties, show } from './read.js';
import type { Task } from './task.js';

/** What a request need not say. */
export interface RequestDefaults {
  /** Makes the `taskUUID` of requests without one, e.g. `() => crypto.randomUUID()`. */
  readonly newUUID: () => string;
  /** The model of `imageInference` requests without one. Without it such a request is an error. */
  readonly model?: string;
}

/** Options of the SDK's call that are for the client, not for the task: read there, no unknown parameters here. */
const CLIENT_OPTIONS: ReadonlySet<string> = new Set([
  'retry',
  'onPartialImages',
  'includePayload',
  'includeGenerationTime',
]);

const NAMES: ReadonlySet<string> = new Set([...KNOWN_NAMES, 'customTaskUUID']);

/** sdk-js sends these only when they are not 0. */
const ZERO_IS_ABSENT = ['width', 'height', 'seed'] as const;

/**
 * Checks one request as `imageInference(request)` takes it, or one of another `taskType`. Against a raw task (see `parseTasks`):
 * - `taskType` (`imageInference`), `taskUUID` and `model` are filled in; `customTaskUUID` goes before `taskUUID`;
 * - `width` and `height` may be absent (then the model's own size is used);
 * - `null`, `''` and, for `width`, `height` and `seed`, 0 count as absent (sdk-js drops them);
 * - a ControlNet without `controlMode` is in mode `controlnet`.
 *
 * Throws a `DarkroomError` whose `errors` are all problems found.
 *
 * @example
 * const task = parseRequest({ positivePrompt: 'a red fox', model: 'sd15' }, { newUUID: () => crypto.randomUUID() });
 */
export function parseRequest(input: unknown, defaults: RequestDefaults): Task {
  const read = readProperties(input, NAMES);
  if (read === undefined) {
    throw fail('invalidRequest', `Invalid request: got ${show(input)}, expected an object.`, { type: 'object' });
  }
  const values = fillIn(read.values, defaults);
  const others = read.others.filter((name) => !CLIENT_OPTIONS.has(name));
  const { task, errors } = checkTask({ values, others }, 'sdk', '');
  if (task !== undefined) return task;
  const [first, ...more]: readonly WireError[] = errors;
  assert(first !== undefined, 'a refused request has at least one error');
  throw new DarkroomError([first, ...more]);
}

function fillIn(sent: ReadonlyMap<string, unknown>, defaults: RequestDefaults): Map<string, unknown> {
  const values = new Map([...sent].filter(([, value]) => value !== null && value !== ''));
  for (const name of ZERO_IS_ABSENT) {
    const value = values.get(name);
    if (value === 0 || value === 0n) values.delete(name);
  }
  const taskUUID = values.get('customTaskUUID') ?? values.get('taskUUID') ?? defaults.newUUID();
  values.delete('customTaskUUID');
  values.set('taskUUID', taskUUID);
  const taskType = values.get('taskType') ?? 'imageInference';
  values.set('taskType', taskType);
  const model = values.get('model') ?? defaults.model;
  if (model !== undefined && taskType === 'imageInference') values.set('model', model);
  return values;
}
