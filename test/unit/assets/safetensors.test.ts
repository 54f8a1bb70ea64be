/** @file Safetensors headers: written files come back, broken and hostile ones are refused with the reason, foreign ones by name. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { openSafetensors, type SafetensorsFile } from '../../../src/assets/safetensors.js';
import { DTYPE_BYTES, elementCount, type DType } from '../../../src/base/dtype.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { concat, problemOf, safetensors, utf8, withHeader, type Stored } from './support.js';

const open = (bytes: Uint8Array): Promise<SafetensorsFile> => openSafetensors(memorySource('m.safetensors', bytes));

const dtypes: readonly string[] = Object.keys(DTYPE_BYTES);
const isDType = (name: string): name is DType => dtypes.includes(name);

const stored: fc.Arbitrary<Stored> = fc
  .tuple(fc.constantFrom(...dtypes.filter(isDType)), fc.array(fc.nat(4), { maxLength: 4 }))
  .chain(([dtype, shape]) => {
    const length = elementCount(shape) * DTYPE_BYTES[dtype];
    return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => ({ dtype, shape, bytes }));
  });
/** Names include `__proto__`, the empty string, numbers and any Unicode. */
const names = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom('__proto__', 'constructor', '', '10', '2', 'a"b\\c\n'),
);
const files = fc.dictionary(
  names.filter((name) => name !== '__metadata__'),
  stored,
  { maxKeys: 8, noNullPrototype: true },
);

/** One F32 tensor of 2×2 with changes to its entry. */
function header(change: Readonly<Record<string, unknown>>, more = ''): string {
  const entry = { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16], ...change };
  return `{"w":${JSON.stringify(entry)}${more}}`;
}
const data = new Uint8Array(16);

describe('openSafetensors', () => {
  it('gives back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(files, fc.dictionary(names, fc.string(), { maxKeys: 3 }), async (tensors, metadata) => {
        const bytes = safetensors(tensors, metadata);
        const file = await open(bytes);
        expect(new Map(file.metadata)).toEqual(new Map(Object.entries(metadata)));
        expect(new Set(file.tensors.keys())).toEqual(new Set(Object.keys(tensors)));
        for (const [name, { dtype, shape, start, end }] of file.tensors) {
          const { bytes: expected, ...rest } = tensors[name] ?? { bytes: undefined };
          expect({ dtype, shape }).toEqual(rest);
          expect(bytes.slice(start, end)).toEqual(expected);
        }
      }),
    );
  });

  it('accepts padding after the header, scalars, empty tensors and any order of keys', async () => {
    const entries = [
      '"z":{"dtype":"U8","shape":[],"data_offsets":[3,4]}',
      '"e":{"dtype":"F64","shape":[0,7],"data_offsets":[3,3]}',
      '"a":{"dtype":"I8","shape":[3],"data_offsets":[0,3]}',
    ];
    const file = await open(withHeader(`{${entries.join(',')}}      `, new Uint8Array(4)));
    expect([...file.tensors.keys()]).toEqual(['a', 'e', 'z']);
    expect((await open(withHeader('{}'))).tensors.size).toBe(0);
    expect((await open(withHeader('{"__metadata__":null}'))).metadata.size).toBe(0);
  });

  it.each<[string, Uint8Array, string]>([
    [
      'a hole',
      withHeader(header({}, ',"b":{"dtype":"U8","shape":[1],"data_offsets":[20,21]}'), new Uint8Array(21)),
      'a hole of 4 bytes before tensor "b"',
    ],
    ['a hole at the beginning', withHeader(header({ data_offsets: [4, 20] }), new Uint8Array(20)), 'a hole of 4 bytes'],
    [
      'an overlap',
      withHeader(header({}, ',"b":{"dtype":"U8","shape":[2],"data_offsets":[15,17]}'), new Uint8Array(17)),
      'overlaps',
    ],
    [
      'twice the same bytes',
      withHeader(header({}, ',"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'), data),
      'overlaps',
    ],
    [
      'bytes left over',
      withHeader(header({}), data, new Uint8Array(3)),
      '3 bytes after the last tensor belong to none',
    ],
    [
      'a size that does not fit',
      withHeader(header({ shape: [2, 3] }), data),
      'needs 24 bytes, but its data_offsets span 16',
    ],
    ['a type that does not fit', withHeader(header({ dtype: 'F16' }), data), 'needs 8 bytes'],
    ['an unknown type', withHeader(header({ dtype: 'F7' }), data), 'dtype "F7"'],
    ['an inherited name as type', withHeader(header({ dtype: 'toString' }), data), 'dtype "toString"'],
    ['no type', withHeader(header({ dtype: undefined }), data), 'dtype nothing'],
    [
      'a negative size',
      withHeader(header({ shape: [-2, -2] }), data),
      'shape must be a list of whole numbers ≥ 0, got [-2, -2]',
    ],
    ['a broken size', withHeader(header({ shape: [1.5] }), data), 'got [1.5]'],
    ['a size as text', withHeader(header({ shape: ['4'] }), data), 'got ["4"]'],
    ['no list of sizes', withHeader(header({ shape: 4 }), data), 'got 4'],
    [
      'sizes whose product is huge',
      withHeader(header({ shape: [2 ** 31, 2 ** 31, 2 ** 31] }), data),
      'needs Infinity bytes',
    ],
    [
      'sizes that overflow to a fitting one',
      withHeader(header({ shape: [2 ** 32, 2 ** 32, 0] }), data),
      'needs Infinity bytes',
    ],
    [
      'a size beyond exact numbers',
      withHeader('{"w":{"dtype":"F32","shape":[1e300],"data_offsets":[0,16]}}', data),
      'shape must be',
    ],
    ['offsets backwards', withHeader(header({ data_offsets: [16, 0] }), data), 'begin ≤ end, got [16, 0]'],
    ['one offset', withHeader(header({ data_offsets: [16] }), data), 'data_offsets must be'],
    ['three offsets', withHeader(header({ data_offsets: [0, 16, 32] }), data), 'data_offsets must be'],
    ['a negative offset', withHeader(header({ data_offsets: [-16, 0] }), data), 'data_offsets must be'],
    [
      'a tensor twice',
      withHeader(header({}, ',"w":{"dtype":"U8","shape":[0],"data_offsets":[16,16]}'), data),
      'the key "w" occurs twice',
    ],
    [
      'a field twice',
      withHeader('{"w":{"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,16]}}', data),
      'the key "dtype" occurs twice',
    ],
    ['a tensor that is no object', withHeader('{"w":[1]}'), 'tensor "w" must be a JSON object'],
    [
      'metadata that is no text',
      withHeader('{"__metadata__":{"step":3}}'),
      '__metadata__ "step" must be a string, got 3',
    ],
    ['metadata that is no object', withHeader('{"__metadata__":"x"}'), '__metadata__ must be a JSON object'],
    ['broken JSON', withHeader('{"w":'), 'is not valid JSON: the text ends early'],
    ['a NaN', withHeader('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', data), 'unexpected "NaN"'],
    [
      'text that is not UTF-8',
      withHeader('{"w', new Uint8Array(0)).map((byte, i) => (i === 10 ? 0xff : byte)),
      'header is not UTF-8',
    ],
    [
      'a header too long',
      concat([new Uint8Array([1, 0xe1, 0xf5, 0x05, 0, 0, 0, 0]), utf8('{')]),
      'claims 100000001 bytes; at most 100000000',
    ],
    [
      'a header of 2⁶³ bytes',
      concat([new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0x80]), utf8('{')]),
      'claims 9223372036854775808 bytes',
    ],
    ['a header cut short', withHeader(header({})).subarray(0, 40), 'is cut short: it has 40 bytes'],
    ['data cut short', withHeader(header({}), data.subarray(0, 9)), 'is cut short'],
  ])('refuses %s', async (_, bytes, problem) => {
    const { code, message } = await problemOf(() => open(bytes));
    expect(code).toBe('invalidModelFile');
    expect(message).toContain(problem);
    expect(message).toContain('m.safetensors');
  });

  it.each<[string, Uint8Array, string, string]>([
    ['a checkpoint (zip)', utf8('PK\x03\x04archive/data.pkl and more'), 'pickleRefused', 'a zip archive'],
    [
      'an old checkpoint',
      concat([new Uint8Array([0x80, 2]), utf8('}q\x00(X\x05\x00')]),
      'pickleRefused',
      'a Python pickle',
    ],
    ['a web page', utf8('<!DOCTYPE html><html><body>Sign in</body></html>'), 'invalidModelFile', 'an HTML page'],
    ['a web page after a mark and space', utf8('\ufeff\n <HTML lang="en">…'), 'invalidModelFile', 'an HTML page'],
    ['an XML error', utf8('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'), 'invalidModelFile', 'XML'],
    ['a JSON error', utf8('{"error":"Repository not found"}'), 'invalidModelFile', 'a JSON text'],
    ['an error as text', utf8('Entry not found'), 'invalidModelFile', 'a text'],
    [
      'a Git LFS pointer',
      utf8('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'),
      'invalidModelFile',
      'a Git LFS pointer',
    ],
    ['a GGUF file', concat([utf8('GGUF'), new Uint8Array(40)]), 'unsupportedModel', 'a GGUF file'],
    ['an empty file', new Uint8Array(0), 'invalidModelFile', 'an empty file'],
    ['eight bytes', new Uint8Array(8), 'invalidModelFile', 'is not a safetensors file'],
    ['noise', new Uint8Array(64).fill(0xa5), 'invalidModelFile', 'is not a safetensors file'],
  ])('says what it is: %s', async (_, bytes, code, what) => {
    const problem = await problemOf(() => open(bytes));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(what);
  });

  it('is not fooled by a header whose length begins like a pickle', async () => {
    const bytes = withHeader('{}'.padEnd(0x0280));
    expect([bytes[0], bytes[1]]).toEqual([0x80, 0x02]);
    expect((await open(bytes)).tensors.size).toBe(0);
  });

  it('never crashes on a changed file, and accepts none whose tensors do not fill it', async () => {
    const change = fc.record({ at: fc.nat(400), byte: fc.nat(255), kind: fc.constantFrom('set', 'insert', 'remove') });
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(files, fc.array(change, { minLength: 1, maxLength: 2 }), async (tensors, changes) => {
        const bytes = changes.reduce((all, { at, byte, kind }) => {
          const i = at % Math.max(1, all.length);
          if (kind === 'set') return all.map((old, k) => (k === i ? byte : old));
          return concat([
            all.subarray(0, i),
            kind === 'insert' ? new Uint8Array([byte]) : new Uint8Array(0),
            all.subarray(kind === 'insert' ? i : i + 1),
          ]);
        }, safetensors(tensors));
        const file = await open(bytes).catch((error: unknown) => {
          if (error instanceof DarkroomError) return undefined;
          throw error;
        });
        if (file === undefined) return;
        accepted++;
        checkFills(file, bytes);
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(10);
  });
});

/** The format's rules, checked once more and differently: every byte after the header is in one tensor, of the right size. */
function checkFills(file: SafetensorsFile, bytes: Uint8Array): void {
  const dataStart = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const owners = new Uint8Array(bytes.length);
  for (const { dtype, shape, start, end } of file.tensors.values()) {
    expect(start).toBeGreaterThanOrEqual(dataStart);
    expect(end).toBeLessThanOrEqual(bytes.length);
    expect(end - start).toBe(elementCount(shape) * DTYPE_BYTES[dtype]);
    for (let i = start; i < end; i++) owners[i] = (owners[i] ?? 0) + 1;
  }
  expect(owners.subarray(dataStart).every((count) => count === 1)).toBe(true);
}
