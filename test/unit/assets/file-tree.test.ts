/** @file Trees over memory and over picked files, and the paths that no tree opens. */
import { describe, expect, it } from 'vitest';
import { blobSource, memorySource } from '../../../src/assets/byte-source.js';
import { filesTree, memoryTree, modelTree } from '../../../src/assets/file-tree.js';
import type { ByteSource, FileTree } from '../../../src/assets/source.js';
import { problemOf, utf8 } from './support.js';

const picked = (...paths: string[]): FileTree =>
  filesTree(
    'picked',
    paths.map((path) => ({ path, file: new Blob([path]) })),
  );

async function textOf(tree: FileTree, path: string): Promise<string | undefined> {
  const source = await tree.open(path);
  return source && new TextDecoder().decode(await source.read(0, source.size));
}

describe('filesTree', () => {
  it('drops the folders that all paths share', async () => {
    const tree = picked('a/b/unet/config.json', 'a/b/model_index.json');
    expect(await textOf(tree, 'unet/config.json')).toBe('a/b/unet/config.json');
    expect(await textOf(tree, 'model_index.json')).toBe('a/b/model_index.json');
    expect(await tree.open('a/b/model_index.json')).toBeUndefined();
  });

  it('keeps folders that differ, and a file at the top', async () => {
    expect(await textOf(picked('unet/config.json', 'vae/config.json'), 'vae/config.json')).toBe('vae/config.json');
    expect(await textOf(picked('./unet//config.json', 'model_index.json'), 'unet/config.json')).toBe(
      './unet//config.json',
    );
    expect(await textOf(picked('x/model.safetensors'), 'model.safetensors')).toBe('x/model.safetensors');
  });

  it('refuses an empty list', async () => {
    expect((await problemOf(() => picked())).code).toBe('modelNotFound');
  });
});

describe('paths', () => {
  it.each(['../x', 'a/../x', '/x', 'a//x', '', '.', 'a\\x', 'C:x', 'a?x', 'a#x', 'a%2fx', 'a\u0000x', '__proto__/..'])(
    'refuses %j',
    async (path) => {
      expect((await problemOf(() => memoryTree('m', {}).open(path))).code).toBe('invalidModelConfig');
      expect((await problemOf(() => picked('a/b').open(path))).code).toBe('invalidModelConfig');
    },
  );

  it('does not take an inherited name for a file', async () => {
    expect(await memoryTree('m', {}).open('constructor')).toBeUndefined();
    expect(await memoryTree('m', {}).open('__proto__')).toBeUndefined();
  });
});

describe('sources', () => {
  const bytes = utf8('0123456789');
  const makers: readonly (readonly [string, () => ByteSource])[] = [
    ['memory', () => memorySource('s', bytes)],
    ['a Blob', () => blobSource('s', new Blob([bytes.slice().buffer]))],
  ];

  describe.each(makers)('%s', (_, make) => {
    it('reads pieces', async () => {
      const source = make();
      let seen = 0;
      expect(source.size).toBe(10);
      expect(await source.read(2, 5, undefined, (n) => (seen += n))).toEqual(utf8('234'));
      expect(await source.read(10, 10)).toHaveLength(0);
      expect(seen).toBe(3);
    });

    it.each([
      [-1, 2],
      [5, 4],
      [0, 11],
      [0.5, 2],
      [0, NaN],
      [0, Infinity],
    ])('refuses %d to %d', async (start, end) => {
      expect((await problemOf(() => make().read(start, end))).code).toBe('invalidModelFile');
    });

    it('stops when aborted', async () => {
      expect((await problemOf(() => make().read(0, 1, AbortSignal.abort()))).code).toBe('aborted');
    });
  });

  it('say that a picked file has gone', async () => {
    const blob = Object.assign(new Blob(['x']), {
      slice: () => ({ arrayBuffer: () => Promise.reject(new DOMException('gone', 'NotReadableError')) }),
    });
    expect(await problemOf(() => blobSource('x.safetensors', blob).read(0, 1))).toMatchObject({
      code: 'invalidModelFile',
      message: 'x.safetensors can no longer be read.',
      hint: 'The file was moved or changed after it was picked: pick it again.',
    });
  });
});

describe('modelTree', () => {
  const asked: string[] = [];
  const deps = {
    fetch: (url: URL | RequestInfo): Promise<Response> => {
      asked.push(url instanceof Request ? url.url : url.toString());
      return Promise.resolve(new Response(null, { status: 404 }));
    },
  };

  it('opens each kind of source', async () => {
    const bundled = { 'unet/config.json': 'https://example.org/assets/config-D0BKOWh4.json' };
    await modelTree('n', { kind: 'bundled', files: bundled }, deps).open('unet/config.json');
    expect(await modelTree('n', { kind: 'bundled', files: bundled }, deps).open('vae/config.json')).toBeUndefined();
    await modelTree('n', { kind: 'url', url: 'https://example.org/m?token=1' }, deps).open('a b.json');
    expect(asked).toEqual([
      'https://example.org/assets/config-D0BKOWh4.json',
      'https://example.org/m/a%20b.json?token=1',
    ]);
    const files = modelTree('n', { kind: 'files', files: [{ path: 'm/x', file: new Blob(['y']) }] }, deps);
    expect(await textOf(files, 'x')).toBe('y');
  });

  it('opens the data: URLs that bundlers make of small files', async () => {
    const files = { 'a.json': 'data:application/json;base64,eyJhIjoxfQ==' };
    expect(await textOf(modelTree('n', { kind: 'bundled', files }, { fetch }), 'a.json')).toBe('{"a":1}');
  });
});
