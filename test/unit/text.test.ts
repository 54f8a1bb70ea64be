/** @file What the project's files may not say: paths of one machine, hosts of one registry. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, projectPaths } from './project-files.js';
import { foreignPlaces } from './text-rules.js';

/** Weights and pictures; files with a zero byte early on are left out too. */
const BINARY = /\.(safetensors|png|jpe?g|webp|bin|npy|npz|wasm|gz|onnx)$/;

/** Its prompts are meant to be strange; one is a path. */
const STRANGE = 'test/golden/tokens/prompts.json';

describe('the project’s files', () => {
  it('name no machine and no registry', () => {
    const found = projectPaths()
      .filter((path) => !BINARY.test(path) && path !== STRANGE)
      .map((path) => [path, readFileSync(join(ROOT, path))] as const)
      .filter(([, bytes]) => !bytes.subarray(0, 8192).includes(0))
      .flatMap(([path, bytes]) => foreignPlaces(bytes.toString('utf8')).map((place) => `${path}: ${place}`));
    expect(found).toEqual([]);
  });
});

/** Cut in two, so that this file does not say them. */
const said = (...parts: readonly string[]): string => parts.join('');

describe('foreignPlaces', () => {
  it.each([
    said('see /wo', 'rk/main/file'),
    said('"/ro', 'ot/.cache"'),
    said('in `/ho', 'me/ann/models`'),
    said('(/Us', 'ers/ann/models)'),
    said('C:\\Us', 'ers\\ann'),
    said('"resolved": "https://regi', 'stry.example.org/a.tgz"'),
    said('http://npm.jfr', 'og.io/a'),
  ])('finds %s', (text) => expect(foreignPlaces(text)).toHaveLength(1));

  it.each([
    'https://example.org/home/a/b',
    'src/work/a.ts and ./root/a',
    'the model registry. Then more',
    'export { registry } from "./registry.js"',
    '../home/ann/models',
  ])('passes %s', (text) => expect(foreignPlaces(text)).toEqual([]));
});
