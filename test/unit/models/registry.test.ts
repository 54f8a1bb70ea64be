/** @file The registry: an immutable value; every form of a reference finds the same entry; the answer for an unknown one helps. */
import { existsSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import type { WireModelSource } from '../../../src/client/wire.js';
import { BUNDLED_MODELS, DEFAULT_MODEL } from '../../../src/models/bundled.js';
import {
  bundledRegistry,
  register,
  resolve,
  type ModelRegistry,
  type ModelSource,
  type ResolvedModel,
} from '../../../src/models/registry.js';

const source: ModelSource = { kind: 'url', url: 'https://example.org/m' };
const none: ModelRegistry = new Map();
const HUB = 'https://huggingface.co';

function problemOf(action: () => unknown): DarkroomError {
  try {
    action();
  } catch (error) {
    if (error instanceof DarkroomError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const urlOf = (reference: string, registry = none): string | undefined => {
  const found = resolve(registry, reference).source;
  return found.kind === 'url' ? found.url : undefined;
};

describe('registering', () => {
  it('has the bundled models from the start', () => {
    for (const { air, files } of BUNDLED_MODELS) {
      expect(resolve(bundledRegistry(), air).source).toEqual({ kind: 'bundled', files });
      expect(existsSync(new URL(files['model_index.json'] ?? 'no:file'))).toBe(true);
    }
    expect([...bundledRegistry().keys()]).toEqual(['darkroom:1@1']);
    expect(DEFAULT_MODEL).toBe('darkroom:1@1');
  });

  it('makes a new value', () => {
    const before = bundledRegistry();
    const after = register(before, ' civitai:1@2 ', source);
    expect(resolve(after, 'civitai:1@2').source).toEqual(source);
    expect(before.has('civitai:1@2')).toBe(false);
    const other: ModelSource = { kind: 'files', files: [] };
    const again = register(after, 'civitai:1@2', other);
    expect(resolve(again, 'civitai:1@2 ').source).toBe(other);
    expect(again.size).toBe(after.size);
    expect(resolve(after, 'civitai:1@2').source).toEqual(source);
  });

  it.each([
    ['urn:air:sd1:checkpoint:civitai:1@2', 'civitai:1@2'],
    ['civitai:1@2', 'URN:AIR:sd1:model:CIVITAI:1@2.safetensors'],
    ['huggingface:owner/repo@main', 'huggingface:owner/repo'],
    ['my model', ' my model '],
    ['https://example.org/m/?token=1', 'HTTPS://EXAMPLE.org/m/?token=1'],
  ])('as %s is found as %s', (one, other) => {
    const registry = register(none, one, source);
    expect(resolve(registry, other).source).toEqual(source);
    expect(resolve(registry, other).key).toBe(resolve(registry, one).key);
    expect(register(registry, other, source).size).toBe(1);
  });

  it('tells what was loaded before a model was registered anew from what is loaded after', () => {
    const once = register(none, 'civitai:1@2', source);
    const twice = register(once, 'urn:air:sd1:model:civitai:1@2', source);
    const keys = [once, twice, register(twice, 'civitai:1@2', source)].map((r) => resolve(r, 'civitai:1@2').key);
    expect(new Set(keys).size).toBe(3);
  });

  it.each([
    ['huggingface:owner/repo', `${HUB}/owner/repo/resolve/main`],
    [`${HUB}/owner/repo`, `${HUB}/owner/repo/resolve/main`],
    ['https://example.org/a/b?token=1', 'https://example.org/a/b?token=1'],
  ])('takes the source %s', (url, expected) => {
    expect(urlOf('mine', register(none, 'mine', { kind: 'url', url }))).toBe(expected);
  });

  it('refuses wrong references and sources', () => {
    for (const reference of ['', '  ', 'a:b c', 'ftp://example.org/']) {
      expect(problemOf(() => register(none, reference, source)).error).toMatchObject({ code: 'invalidModel', parameter: 'model' });
    }
    for (const url of ['civitai:1@2', 'models/a', 'ftp://example.org/', 'huggingface:gpt2']) {
      expect(problemOf(() => register(none, 'mine', { kind: 'url', url })).code).toBe('invalidModel');
    }
  });

  it('takes every source that crosses from the page', () => {
    expectTypeOf<WireModelSource>().toExtend<ModelSource>();
    expectTypeOf(resolve).returns.toEqualTypeOf<ResolvedModel>();
  });
});

describe('details', () => {
  const registered = (details: unknown, air = 'mine:1@1'): ResolvedModel => resolve(register(none, air, source, details), air);

  it('describe and override', () => {
    const overrides = { family: 'sd2', prediction: 'v_prediction', defaults: { steps: 9 }, scheduler: { steps_offset: 0 } };
    const details = { name: 'Mine', family: 'sdxl', native: [768, 512], defaults: { scheduler: 'euler A' }, category: 'checkpoint' };
    expect(registered({ ...details, overrides, note: 'left out' })).toMatchObject({
      category: 'checkpoint',
      card: {
        name: 'Mine',
        family: 'sdxl',
        native: [768, 512],
        defaults: { width: 768, height: 512, scheduler: 'Euler a' },
      },
      overrides,
    });
    expect(registered({})).toMatchObject({ card: {}, overrides: {} });
  });

  it('add to what is known of the identifier', () => {
    const { card, category, warnings } = registered({ name: 'Mine', defaults: { steps: 33 } }, 'civitai:101055@128078');
    expect(category).toBe('checkpoint');
    expect(card).toMatchObject({ name: 'Mine', family: 'sdxl', native: [1024, 1024] });
    expect(card.defaults).toEqual({ width: 1024, height: 1024, steps: 33 });
    expect(warnings).toEqual([]);
  });

  it.each([
    ['lcm', { steps: 4 }, { _class_name: 'LCMScheduler' }],
    ['turbo', { steps: 1, CFGScale: 0 }, { _class_name: 'EulerAncestralDiscreteScheduler', timestep_spacing: 'trailing' }],
    ['lightning', { steps: 4, CFGScale: 0 }, { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' }],
    ['hyper', { steps: 8, CFGScale: 0 }, { _class_name: 'DDIMScheduler', timestep_spacing: 'trailing' }],
    ['tcd', { steps: 4, CFGScale: 0 }, { _class_name: 'TCDScheduler' }],
  ])('distilled by %s: its steps, CFG and scheduler, which the details may change', (distillation, defaults, scheduler) => {
    expect(registered({ distillation })).toMatchObject({ card: { defaults }, overrides: { scheduler } });
    const changed = registered({ distillation, defaults: { steps: 2 }, overrides: { scheduler: { timestep_spacing: 'leading' } } });
    expect(changed.card.defaults).toEqual({ ...defaults, steps: 2 });
    expect(changed.overrides.scheduler).toEqual({ ...scheduler, timestep_spacing: 'leading' });
  });

  it.each([
    [{ family: 'sd3' }, '"family" must be one of sd1, sd2, sdxl, sdxl-refiner, flux, got "sd3"'],
    [{ companions: 'x' }, '"companions" must be a list'],
    [{ companions: [''] }, '"companions"[0] must be a model\'s reference or a URL, got ""'],
    [{ category: 'model' }, '"category" must be one of checkpoint, lora'],
    [{ distillation: 'fast' }, '"distillation" must be one of lcm, turbo, lightning, hyper, tcd, got "fast"'],
    [{ name: '' }, '"name" must be a string that is not empty'],
    [{ native: [500, 512] }, '"native"[0] must be a multiple of 8'],
    [{ defaults: { steps: 101 } }, '"defaults": "steps" must be a whole number from 1 to 100, got 101'],
    [{ defaults: { scheduler: 'Fast' } }, '"scheduler" must be one of the scheduler names, e.g. "Default", got "Fast"'],
    [{ latentRgb: 1 }, '"latentRgb": expected a JSON object, got 1'],
    [{ overrides: 'v' }, '"overrides": expected a JSON object, got "v"'],
    [{ overrides: { family: 'sd9' } }, '"overrides": "family" must be one of'],
    [{ overrides: { prediction: 'v' } }, '"prediction" must be one of epsilon, v_prediction, sample, got "v"'],
    [{ overrides: { defaults: { CFGScale: -1 } } }, '"overrides": "defaults": "CFGScale" must be a number from 0 to 50, got -1'],
    [{ overrides: { weightBits: 5 } }, '"overrides": "weightBits" must be 4, 8 or 16, got 5'],
    [{ overrides: { textEncoderBits: '8' } }, '"overrides": "textEncoderBits" must be 4, 8 or 16, got "8"'],
    [{ overrides: { scheduler: [] } }, '"overrides": "scheduler": expected a JSON object'],
    [{ overrides: { scheduler: { _class_name: 1 } } }, '"_class_name" must be a string, got 1'],
    [{ overrides: { scheduler: { beta_start: Number.NaN } } }, '"beta_start" must be a number, text, true, false or a list, got NaN'],
    [{ overrides: { scheduler: { trained_betas: ['x'] } } }, '"trained_betas" must be a number, text, true, false or a list'],
  ])('refuses %j', (details, message) => {
    const { error } = problemOf(() => registered(details));
    expect(error.code).toBe('invalidModelConfig');
    expect(error.message).toMatch(/^The registration of "mine:1@1"/);
    expect(error.message).toContain(message);
  });
});

describe('companions', () => {
  const SCHNELL = 'huggingface:black-forest-labs/FLUX.1-schnell';
  const companions = (reference: string, registry = none): readonly string[] => resolve(registry, reference).companions;

  it('are FLUX.1 schnell for models that come over the network, unless somebody says otherwise', () => {
    expect(companions('https://example.org/flux.safetensors')).toEqual([SCHNELL]);
    expect(companions('mine', register(none, 'mine', source))).toEqual([SCHNELL]);
    expect(companions('mine', register(none, 'mine', source, { companions: ['a:1@1', 'b'] }))).toEqual(['a:1@1', 'b']);
    expect(companions('mine', register(none, 'mine', source, { companions: [] }))).toEqual([]);
  });

  it('are none of a picked file, whose person asked for nothing from a server, of a bundled model, and of itself', () => {
    const picked: ModelSource = { kind: 'files', files: [{ path: 'f', file: new Blob() }] };
    expect(companions('mine', register(none, 'mine', picked))).toEqual([]);
    expect(companions('mine', register(none, 'mine', picked, { companions: [SCHNELL] }))).toEqual([SCHNELL]);
    expect(companions(DEFAULT_MODEL, bundledRegistry())).toEqual([]);
    expect(companions(SCHNELL)).toEqual([]);
  });
});

describe('what needs no registering', () => {
  it.each([
    ['huggingface:owner/repo', `${HUB}/owner/repo/resolve/main`],
    ['huggingface:owner/repo-1.5@fp16', `${HUB}/owner/repo-1.5/resolve/fp16`],
    ['urn:air:sdxl:model:HuggingFace:owner/repo@refs/pr/1', `${HUB}/owner/repo/resolve/refs%2Fpr%2F1`],
    [`${HUB}/owner/repo`, `${HUB}/owner/repo/resolve/main`],
    [`${HUB}/owner/repo/tree/fp16/sub`, `${HUB}/owner/repo/resolve/fp16/sub`],
    [`${HUB}/owner/repo/blob/main/a%20b.safetensors?x=1`, `${HUB}/owner/repo/resolve/main/a%20b.safetensors`],
    [`${HUB}/owner/repo/resolve/main/a.safetensors?download=true`, `${HUB}/owner/repo/resolve/main/a.safetensors?download=true`],
    ['https://hf.co/owner/repo', `${HUB}/owner/repo/resolve/main`],
    [`${HUB}/datasets/owner/repo`, `${HUB}/datasets/owner/repo`],
    ['https://example.org/models/a.safetensors', 'https://example.org/models/a.safetensors'],
  ])('%s', (reference, url) => expect(urlOf(reference)).toBe(url));

  it.each(['huggingface:gpt2', 'huggingface:a/b/c', 'huggingface:a/b@main:unet', 'huggingface:a/b@main+1'])(
    'is not %s',
    (reference) => {
      const { error } = problemOf(() => resolve(none, reference, { parameter: 'vae' }));
      expect(error).toMatchObject({ code: 'invalidModel', parameter: 'vae' });
      expect(error.hint).toContain('resolve/main/file.safetensors');
    },
  );

  it('knows what is published of some, whichever way they are named', () => {
    for (const reference of ['huggingface:stabilityai/sdxl-turbo', `${HUB}/stabilityai/sdxl-turbo`]) {
      expect(resolve(none, reference)).toMatchObject({
        card: { family: 'sdxl', defaults: { width: 512, height: 512, steps: 1, CFGScale: 0 } },
        source: { kind: 'url', url: `${HUB}/stabilityai/sdxl-turbo/resolve/main` },
        warnings: [],
      });
    }
    expect(resolve(none, 'huggingface:ByteDance/SDXL-Lightning')).toMatchObject({
      card: { defaults: { steps: 4 } },
      source: { url: `${HUB}/ByteDance/SDXL-Lightning/resolve/main/sdxl_lightning_4step.safetensors` },
    });
    expect(resolve(none, 'huggingface:stabilityai/stable-diffusion-2-1').overrides.prediction).toBe('v_prediction');
    // another file of that repo, for another number of steps
    expect(resolve(none, `${HUB}/ByteDance/SDXL-Lightning/blob/main/sdxl_lightning_8step.safetensors`).card).toEqual({});
  });

  it('reads a known identifier from the Hub, and says so', () => {
    const found = resolve(none, 'civitai:4384@128713');
    expect(found.source).toEqual({ kind: 'url', url: `${HUB}/Lykon/dreamshaper-8/resolve/main` });
    expect(found.card).toMatchObject({ name: 'DreamShaper 8', family: 'sd1' });
    expect(found.warnings).toEqual([
      'civitai:4384@128713 (DreamShaper 8) was read from the Hub repo Lykon/dreamshaper-8; that both are the same was not verified.',
    ]);
    expect(resolve(register(none, 'civitai:4384@128713', source), 'civitai:4384@128713')).toMatchObject({ source, warnings: [] });
  });

  it('shows no token', () => {
    const found = resolve(none, 'https://user:secret@example.org/m?token=secret');
    expect(found.reference).toBe('https://example.org/m');
    expect(found.source).toEqual({ kind: 'url', url: 'https://user:secret@example.org/m?token=secret' });
  });
});

describe('what is not found', () => {
  const miss = (registry: ModelRegistry, reference: string): DarkroomError['error'] => {
    const { error } = problemOf(() => resolve(registry, reference));
    expect(error).toMatchObject({ code: 'modelNotFound', parameter: 'model', type: 'string' });
    return error;
  };

  it('says what there is and how to add more', () => {
    const error = miss(register(bundledRegistry(), 'mine', source), 'acme:7@1');
    expect(error.message).toBe('No model is registered as "acme:7@1". Registered: "darkroom:1@1", "mine".');
    expect(error.hint).toContain('registerModel({ air: "acme:7@1", source })');
    expect(miss(none, '__proto__').message).toContain('Registered: none.');
    const many = Array.from({ length: 11 }, (_, i) => `m${i}`).reduce((known, name) => register(known, name, source), none);
    expect(miss(many, 'acme:7@1').message).toContain('"m7" and 3 more.');
  });

  it('says where Civitai has the file', () => {
    const { hint } = miss(none, 'urn:air:sdxl:checkpoint:civitai:827184@2514310+2402203.safetensors');
    expect(hint).toContain('https://civitai.com/api/download/models/2514310?fileId=2402203, then register it');
    expect(miss(none, 'civitai:827184').hint).toContain('https://civitai.com/models/827184');
  });

  it('knows models that it has no address for', () => {
    expect(miss(none, 'urn:air:sdxl:checkpoint:civitai:139562@297320').message).toContain(
      'It is RealVisXL, whose files have no known public address.',
    );
  });

  it.each([
    ['civitai:4384@128714', '"civitai:4384@128713"'],
    ['civitai:101055', '"civitai:101055@128078" or "civitai:101055@128080"'],
    ['sdxl-turbo', '"huggingface:stabilityai/sdxl-turbo"'],
    ['dreamshaper', '"civitai:4384@128713"'],
    ['darkrom:1@1', '"darkroom:1@1"'],
    ['myy model', '"my model"'],
  ])('asks back: %s', (reference, near) => {
    expect(miss(register(bundledRegistry(), 'my model', source), reference).message).toContain(`Did you mean ${near}`);
  });

  it.each(['acme:7@1', 'x', 'stable', 'civitai:999999@888888'])('does not ask back without reason: %s', (reference) => {
    const { message } = miss(bundledRegistry(), reference);
    if (reference === 'stable') expect(message).toContain('Did you mean "huggingface:stab');
    else expect(message).not.toContain('Did you mean');
  });

  it('says that FLUX.1 Fill is one', () => {
    const error = problemOf(() => resolve(none, 'runware:102@1'));
    expect(error.code).toBe('unsupportedModel');
    expect(error.message).toBe(
      'runware:102@1 is FLUX.1 Fill, an inpainting model of FLUX.1; models of its kind are not supported.',
    );
    expect(resolve(register(none, 'runware:102@1', source), 'runware:102@1').source).toEqual(source);
  });

  it.each([
    ['civitai:38784@44716', 'checkpoint', 'is registered as controlnet; "model" takes checkpoint.'],
    ['urn:air:sd1:lora:huggingface:a/b', 'checkpoint', 'is registered as lora'],
    ['civitai:4384@128713', 'controlnet', 'is registered as checkpoint'],
  ] as const)('refuses %s as a %s', (reference, category, why) => {
    const error = problemOf(() => resolve(none, reference, { category }));
    expect(error.code).toBe('unsupportedModel');
    expect(error.message).toContain(why);
  });

  it('takes what fits', () => {
    expect(resolve(none, 'civitai:38784@44716', { category: 'controlnet' }).category).toBe('controlnet');
    expect(resolve(none, 'civitai:4384@128713', { category: 'vae' }).category).toBe('checkpoint');
    expect(resolve(none, 'urn:air:sdxl:model:huggingface:a/b', { category: 'vae' }).reference).toBe('urn:air:sdxl:model:huggingface:a/b');
  });
});
