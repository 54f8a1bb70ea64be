/** @file The registry: an immutable value whose answer for an unknown name helps. */
import { existsSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import type { WireModelSource } from '../../../src/client/wire.js';
import { BUNDLED_MODELS } from '../../../src/models/bundled.js';
import { bundledRegistry, register, resolve, type ModelRegistry, type ModelSource } from '../../../src/models/registry.js';

const source: ModelSource = { kind: 'url', url: 'https://example.org/m' };

function problemOf(action: () => unknown): DarkroomError {
  try {
    action();
  } catch (error) {
    if (error instanceof DarkroomError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the registry', () => {
  it('knows the bundled models', () => {
    for (const { air, files } of BUNDLED_MODELS) {
      expect(resolve(bundledRegistry(), air)).toEqual({ kind: 'bundled', files });
      expect(existsSync(new URL(files['model_index.json'] ?? 'no:file'))).toBe(true);
    }
    expect([...bundledRegistry().keys()]).toEqual(['darkroom:1@1']);
  });

  it('registers into a new value', () => {
    const before = bundledRegistry();
    const after = register(before, ' civitai:1@2 ', source);
    expect(resolve(after, 'civitai:1@2')).toBe(source);
    expect(before.has('civitai:1@2')).toBe(false);
    const other: ModelSource = { kind: 'files', files: [] };
    expect(resolve(register(after, 'civitai:1@2', other), 'civitai:1@2 ')).toBe(other);
    expect(problemOf(() => register(before, '  ', source)).code).toBe('invalidModel');
  });

  it('says what there is when a name is unknown', () => {
    const { error } = problemOf(() => resolve(register(bundledRegistry(), 'mine', source), 'civitai:4384@128713'));
    expect(error).toMatchObject({
      code: 'modelNotFound',
      message: 'No model is registered as "civitai:4384@128713". Registered: "darkroom:1@1", "mine".',
      parameter: 'model',
    });
    expect(error.hint).toContain('Register it');
    const empty: ModelRegistry = new Map();
    expect(problemOf(() => resolve(empty, '__proto__')).message).toContain('Registered: none.');
  });

  it('takes every source that crosses from the page', () => {
    expectTypeOf<WireModelSource>().toExtend<ModelSource>();
  });
});
