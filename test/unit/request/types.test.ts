/** @file The types of the public request, of the checked task and of the table agree with each other (checked by `tsc`). */
import { describe, expectTypeOf, test } from 'vitest';

import type { Parameter } from '../../../src/base/errors.js';
import type { CHECKED_PARAMETERS, PARAMETERS, TASK_PARAMETERS } from '../../../src/request/parameters.js';
import type { ImageInferenceRequest } from '../../../src/request/request.js';
import type { Checked, ValueOf } from '../../../src/request/rules.js';
import type { ImageInferenceTask } from '../../../src/request/task.js';
import type { WireTask } from '../../../src/request/wire-form.js';

/** Every path of the tables as codes spell it: `controlNet.startStep` → `ControlNetStartStep`. */
type CodeNames<R> = {
  [K in keyof R & string]: Capitalize<K> | `${Capitalize<K>}${Nested<ValueOf<R[K]>>}`;
}[keyof R & string];
type Nested<T> = T extends readonly (infer U)[]
  ? Nested<U>
  : T extends string | number | bigint | boolean | Blob
    ? never
    : Keys<T>;
type Keys<T> = unknown extends T ? never : Capitalize<keyof T & string>;

/** Parameters for models that a provider runs: accepted as "not supported", but nothing for the public type to invite. */
type Foreign =
  | 'puLID'
  | 'acePlusPlus'
  | 'photoMaker'
  | 'instantID'
  | 'lycoris'
  | 'ultralytics'
  | 'providerSettings'
  | 'settings'
  | 'inputs'
  | 'useCache'
  | 'usePromptWeighting';

describe('types', () => {
  test('every path of the tables has its codes', () => {
    expectTypeOf<CodeNames<typeof PARAMETERS>>().toExtend<Parameter>();
    expectTypeOf<'ControlNetStartStep'>().toExtend<CodeNames<typeof TASK_PARAMETERS>>();
    expectTypeOf<'OutpaintBlur'>().toExtend<CodeNames<typeof CHECKED_PARAMETERS>>();
  });

  test('the table makes the task', () => {
    type Made = Checked<typeof TASK_PARAMETERS>;
    expectTypeOf<keyof Made | 'taskType' | 'taskUUID' | 'warnings'>().toEqualTypeOf<keyof ImageInferenceTask>();
    expectTypeOf<Made>().toExtend<Omit<ImageInferenceTask, 'taskType' | 'taskUUID' | 'warnings'>>();
  });

  test('the public request names every parameter', () => {
    type Names = Exclude<keyof typeof PARAMETERS, Foreign> | 'taskType' | 'taskUUID';
    expectTypeOf<keyof ImageInferenceRequest>().toEqualTypeOf<Names>();
  });

  test('the least request, and seeds of every kind', () => {
    expectTypeOf<{ positivePrompt: string }>().toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; seed: 5 | 5n | '5' }>().toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; scheduler: 'euler a' }>().toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; outputFormat: 'jpg' }>().toExtend<ImageInferenceRequest>();
  });

  test('what no request may be', () => {
    expectTypeOf<{ model: string }>().not.toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; steps: '20' }>().not.toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; seed: boolean }>().not.toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; outputType: 'file' }>().not.toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; lora: { weight: 1 }[] }>().not.toExtend<ImageInferenceRequest>();
  });

  test('a wire task is a request', () => {
    expectTypeOf<WireTask>().toExtend<ImageInferenceRequest>();
    expectTypeOf<Omit<ImageInferenceTask, 'warnings'>>().toExtend<ImageInferenceRequest>();
  });
});
