/** @file Small text and JSON files: limits, encodings, and files that are something else. */
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { readJson, readText } from '../../../src/assets/text-file.js';
import { concat, problemOf, utf8 } from './support.js';

const source = (bytes: Uint8Array | string) => memorySource('a.json', typeof bytes === 'string' ? utf8(bytes) : bytes);

describe('readText and readJson', () => {
  it('read UTF-8, without its mark', async () => {
    expect(await readText(source('\ufeffé\n'), 10)).toBe('é\n');
    expect(await readJson(source('\ufeff{"é":-Infinity}'), 100)).toEqual({ é: -Infinity });
  });

  it('have a limit', async () => {
    expect(await readText(source('12345'), 5)).toBe('12345');
    expect(await problemOf(() => readText(source('123456'), 5))).toMatchObject({
      code: 'invalidModelConfig',
      message: 'a.json has 6 bytes; at most 5 are accepted for such a file.',
    });
    expect((await problemOf(() => readJson(source('[1,2,3]'), 5))).code).toBe('invalidModelConfig');
  });

  it.each<[string, Uint8Array, string]>([
    ['a page', utf8('<html>'), 'is an HTML page, not JSON'],
    ['nothing', utf8(''), 'is an empty file, not JSON'],
    ['a Git LFS pointer', utf8('version https://git-lfs.github.com/spec/v1\n'), 'a Git LFS pointer'],
    ['another encoding', concat([utf8('{"a":"'), new Uint8Array([0xe9]), utf8('"}')]), 'is not UTF-8 text'],
    ['broken JSON', utf8('{\n"a": 1,}'), 'is not valid JSON: expected a key in double quotes at line 2, column 8'],
  ])('say what is wrong: %s', async (_, bytes, what) => {
    const problem = await problemOf(() => readJson(source(bytes), 1000));
    expect(problem.code).toBe('invalidModelConfig');
    expect(problem.message).toContain(what);
    expect(problem.message).toContain('a.json');
  });
});
