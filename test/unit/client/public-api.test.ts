/** @file The package's root: which names it has, and what calls look like to a compiler. */
import { readFile } from 'node:fs/promises';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as api from '../../../src/index.js';
import type { Darkroom, ImageInferenceRequest, ImageResult, RunOptions } from '../../../src/index.js';

describe('the package root', () => {
  it('has these values, and at most twelve names with its types', async () => {
    expect(Object.keys(api).sort()).toEqual([
      'DarkroomError',
      'SCHEDULER_NAMES',
      'createDarkroom',
      'readPictureRequest',
    ]);
    const source = await readFile(new URL('../../../src/index.ts', import.meta.url), 'utf8');
    const names = [...source.matchAll(/\{([^}]*)\}/g)].flatMap(([, list]) =>
      (list ?? '').split(',').map((name) => name.trim()),
    );
    expect(names.filter((name) => name !== '').length).toBeLessThanOrEqual(12);
  });

  it('has the types that callers rely on', () => {
    expectTypeOf(api.createDarkroom).returns.toEqualTypeOf<Darkroom>();
    expectTypeOf<Darkroom['imageInference']>().parameter(0).toEqualTypeOf<ImageInferenceRequest>();
    expectTypeOf<Darkroom['imageInference']>().parameter(1).toEqualTypeOf<RunOptions | undefined>();
    expectTypeOf<Darkroom['imageInference']>().returns.resolves.toEqualTypeOf<readonly ImageResult[]>();
    expectTypeOf<Darkroom['requestImages']>().toEqualTypeOf<Darkroom['imageInference']>();
    expectTypeOf<{ positivePrompt: string }>().toExtend<ImageInferenceRequest>();
    expectTypeOf<{ positivePrompt: string; steps: string }>().not.toExtend<ImageInferenceRequest>();
    expectTypeOf<api.DarkroomError>().toExtend<Error>();
  });
});
