/**
 * @file Where in a request a problem is, and how it is reported: codes, documentation links, the cloud's error fields.
 * Knows no parameter. Imports `base` and `read.ts`.
 */
import type { ErrorCode, Parameter, WireError } from '../base/errors.js';
import { show } from './read.js';

/** Everything that the checks of one task share. `errors` and `warnings` are what they fill. */
export interface Scope {
  /** `wire`: a raw task object, nothing filled in. `sdk`: the argument of `imageInference()`, with the SDK's liberties. */
  readonly dialect: 'wire' | 'sdk';
  /** Starts messages where the UUID cannot say which task is meant, e.g. `tasks[2]: `; else empty. */
  readonly prefix: string;
  readonly taskUUID?: string;
  readonly taskType?: string;
  /** Steps of the schedule, the bound of `startStep` and its like: what was asked for, or the default. */
  readonly steps: number;
  readonly errors: WireError[];
  readonly warnings: string[];
}

/** One parameter of one task. */
export interface Place {
  readonly scope: Scope;
  /** The cloud's name of it, without indices: `controlNet.startStep`. Empty for the task itself. */
  readonly parameter: string;
  /** The name in messages, with indices: `controlNet[0].startStep`. */
  readonly label: string;
}

/** What a value must be: in words, and in the fields of the cloud's error object. */
export type Expectation = { readonly expected: string } & Pick<
  WireError,
  'min' | 'max' | 'multiplier' | 'allowedValues' | 'hint'
>;

/** The task itself, the place from which all others start. */
export function root(scope: Scope): Place {
  return { scope, parameter: '', label: '' };
}

/** The property `name` of `place`. */
export function property(place: Place, name: string): Place {
  const join = (path: string) => (path === '' ? name : `${path}.${name}`);
  return { scope: place.scope, parameter: join(place.parameter), label: join(place.label) };
}

/** Item `index` of the list at `place`. The cloud's parameter names leave the index out. */
export function item(place: Place, index: number): Place {
  return { ...place, label: `${place.label}[${index}]` };
}

/** Reports `invalid<Parameter>`. `got` replaces the printed value where that says more. */
export function reportInvalid(
  place: Place,
  type: string,
  value: unknown,
  expectation: Expectation,
  got = show(value),
): void {
  const { expected, ...fields } = expectation;
  const message = `Invalid value for '${place.label}': got ${got}, expected ${expected}.`;
  report(place, `invalid${codeName(place.parameter)}`, message, { type, ...fields });
}

/** Reports `missing<Parameter>`. */
export function reportMissing(place: Place, type: string, expectation: Expectation): void {
  const { expected, ...fields } = expectation;
  const message = `Missing required parameter '${place.label}': expected ${expected}.`;
  report(place, `missing${codeName(place.parameter)}`, message, { type, ...fields });
}

/** Adds one error about `place`, with everything the cloud's error object says about where it is. */
export function report(place: Place, code: ErrorCode, message: string, fields: Partial<WireError> = {}): void {
  const { scope, parameter } = place;
  scope.errors.push({
    code,
    message: scope.prefix + message,
    ...(parameter === '' ? {} : { parameter, documentation: documentationOf(parameter, scope.taskType) }),
    ...(scope.taskUUID === undefined ? {} : { taskUUID: scope.taskUUID }),
    ...(scope.taskType === undefined ? {} : { taskType: scope.taskType }),
    ...fields,
  });
}

/** The cloud's references, whose anchors its errors point at; each parameter means the same here. */
const DOCUMENTATION = 'https://runware.ai/docs/en/';
const IMAGE_INFERENCE = 'image-inference/api-reference';
const PAGES: Readonly<Record<string, string>> = {
  imageUpload: 'utilities/image-upload',
  controlNetPreprocess: 'tools/controlnet-preprocess',
  imageControlNetPreProcess: 'tools/controlnet-preprocess',
};

/** `controlNet.startStep` → `…/api-reference#request-controlnet-startstep` (the rule of the cloud's own SDK). */
export function documentationOf(parameter: string, taskType?: string): string {
  const page = taskType !== undefined && Object.hasOwn(PAGES, taskType) ? PAGES[taskType] : undefined;
  return `${DOCUMENTATION}${page ?? IMAGE_INFERENCE}#request-${parameter.toLowerCase().replaceAll('.', '-')}`;
}

/** `controlNet.startStep` → `ControlNetStartStep`: the name in codes. */
export function codeName(parameter: string): Parameter {
  const name = parameter.replace(/(?:^|\.)(.)/g, (_, first: string) => first.toUpperCase());
  // The parameter tables are closed; a type test proves that each of their paths is a `Parameter`.
  return name as Parameter;
}
