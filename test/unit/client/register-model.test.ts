/** @file `registerModel`: both ways to call it, what a compiler says of them, and what happens to a model that is refused. */
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { ModelRegistration } from '../../../src/client/types.js';
import type { Darkroom } from '../../../src/index.js';
import { refusal, REQUEST, setUp } from './bench.js';
import { fakeWorker, makes, picture } from './fake-worker.js';

const file = new File(['x'], 'model.safetensors');

describe('registerModel', () => {
  it('takes a name and a source, or one object that says more', () => {
    expectTypeOf<Darkroom['registerModel']>().toBeCallableWith('mine', file);
    expectTypeOf<Darkroom['registerModel']>().toBeCallableWith('mine', [file]);
    expectTypeOf<Darkroom['registerModel']>().toBeCallableWith('mine', new URL('https://example.org/'));
    expectTypeOf<Darkroom['registerModel']>().toBeCallableWith('mine', {} as FileSystemFileHandle); // only its type matters
    expectTypeOf<Darkroom['registerModel']>().toBeCallableWith({
      air: 'civitai:1@2',
      source: 'huggingface:owner/repo',
      category: 'checkpoint',
      family: 'sdxl',
      native: [1024, 1024],
      defaults: { steps: 4, scheduler: 'Euler a' },
      distillation: 'lightning',
      overrides: { prediction: 'v_prediction', scheduler: { timestep_spacing: 'trailing' } },
    });
    expectTypeOf<{ air: string }>().not.toExtend<ModelRegistration>();
    expectTypeOf<{ air: string; source: File; distillation: 'fast' }>().not.toExtend<ModelRegistration>();
    expectTypeOf<{ air: string; source: File; defaults: { scheduler: 'Fast' } }>().not.toExtend<ModelRegistration>();
    expectTypeOf<{ air: string; source: File }>().toExtend<ModelRegistration>();
  });

  it.each([
    ['an empty name', (d: Darkroom) => d.registerModel(' ', file), 'invalidModel'],
    ['an empty AIR', (d: Darkroom) => d.registerModel({ air: '', source: file }), 'invalidModel'],
    ['no source', (d: Darkroom) => d.registerModel(...(['a:1@1'] as unknown as ['a:1@1', File])), 'invalidModel'],
    ['a relative URL without a page', (d: Darkroom) => d.registerModel('a:1@1', 'models/a'), 'invalidModel'],
    ['no files', (d: Darkroom) => d.registerModel({ air: 'a:1@1', source: [] }), 'missingModelFile'],
  ])('refuses %s before a worker is started', async (_, call, code) => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
    expect((await refusal(call(darkroom))).code).toBe(code);
    expect(workers).toHaveLength(0);
  });

  it('forgets what the worker refuses, and passes on why', async () => {
    const problem = { code: 'invalidModelConfig', message: 'The registration …', parameter: 'steps' } as const;
    const { darkroom, workers } = setUp((n) =>
      fakeWorker(
        makes(picture()),
        n === 0 ? { registerModel: () => Promise.resolve({ ok: false, errors: [problem] }) } : {},
      ),
    );
    const error = await refusal(darkroom.registerModel({ air: 'a:1@1', source: file, defaults: { steps: 0 } }));
    expect(error.errors).toEqual([problem]);
    expect(workers[0]?.registered).toMatchObject([{ air: 'a:1@1', defaults: { steps: 0 } }]);
    workers[0]?.fire('error');
    await darkroom.imageInference(REQUEST);
    expect(workers[1]?.started[0]?.models).toEqual([]);
  });
});
