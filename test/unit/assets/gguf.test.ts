/** @file GGUF files: every block format against gguf-py's values, and headers that lie. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { openGguf } from '../../../src/assets/gguf.js';
import { openTensorFile, openWhole } from '../../../src/assets/weight-tensors.js';
import { viewWeights } from '../../../src/assets/weights.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { openGolden } from '../base/goldens.js';
import { concat, expectBytes, problemOf, utf8 } from './support.js';

const FOLDER = 'unit/gguf';
const read = (file: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../golden/${FOLDER}/${file}`, import.meta.url)));
const file = read('all-types.gguf');
const { rows, cols, types } = JSON.parse(new TextDecoder().decode(read('case.json'))) as {
  readonly rows: number;
  readonly cols: number;
  readonly types: Readonly<Record<string, string>>;
};
const values = await openGolden(`${FOLDER}/tensors.safetensors`);
const weights = viewWeights('g', await openWhole(memorySource('all-types.gguf', file)), UNET_LAYOUT);

describe('a file of every type', () => {
  it('has its metadata and tensors', async () => {
    const { metadata, tensors } = await openTensorFile(memorySource('all-types.gguf', file));
    expect(metadata.get('general.architecture')).toBe('flux');
    expect(metadata.get('general.name')).toBe('block formats');
    expect([...tensors.values()].map(({ dtype }) => dtype)).toEqual(Object.keys(types));
    expect(Object.keys(types)).toHaveLength(15);
  });

  it.each(Object.keys(types))('%s is decoded as gguf-py does, bit for bit', async (type) => {
    const name = `tensor.${type}.weight`;
    expect(weights.find(name)?.shape).toEqual([rows, cols]);
    const got = await weights.read(name, 'float32');
    expectBytes(new Uint8Array(got.buffer, got.byteOffset, got.byteLength), values(name));
  });

  it.each(Object.keys(types))('%s: some rows are those of the whole', async (type) => {
    const whole = await weights.read(`tensor.${type}.weight`, 'float32');
    const { tensors } = weights;
    const cut = viewWeights('g', tensors, {
      places: (name) => [{ name: `tensor.${name}.weight`, part: { index: 1, of: 3, count: 2 } }],
      shape: (_, stored) => stored,
    });
    expect(cut.find(type)?.shape).toEqual([2, cols]);
    expect(await cut.read(type, 'float32')).toEqual(whole.slice(cols));
  });

  it('cannot be cut inside a block', async () => {
    const cut = viewWeights('g', weights.tensors, {
      places: () => [{ name: 'odd', part: { index: 1, of: 2 } }],
      shape: (_, stored) => stored,
    });
    expect(cut.find('odd')).toBeUndefined();
    const vector = headerOf({ tensors: [tensor('odd', [32], 8, 0)] });
    const tensors = await openWhole(memorySource('v.gguf', concat([pad(vector), new Uint8Array(34)])));
    const halves = viewWeights('v', tensors, {
      places: () => [{ name: 'odd', part: { index: 1, of: 2 } }],
      shape: (_, stored) => stored,
    });
    expect(await problemOf(() => halves.find('odd'))).toMatchObject({ code: 'invalidModelFile' });
  });
});

// —— a writer of headers, for what no writer writes ——

const int = (value: number | bigint, bytes: 4 | 8): Uint8Array => {
  const view = new DataView(new ArrayBuffer(bytes));
  if (bytes === 4) view.setUint32(0, Number(value), true);
  else view.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(view.buffer);
};
const u32 = (value: number): Uint8Array => int(value, 4);
const u64 = (value: number | bigint): Uint8Array => int(value, 8);
const text = (value: string): Uint8Array => concat([u64(utf8(value).length), utf8(value)]);
const entry = (key: string, type: number, value: Uint8Array): Uint8Array => concat([text(key), u32(type), value]);
const tensor = (name: string, sizes: readonly (number | bigint)[], type: number, offset: number | bigint): Uint8Array =>
  concat([text(name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset)]);
const pad = (bytes: Uint8Array, to = 32): Uint8Array =>
  concat([bytes, new Uint8Array((to - (bytes.length % to)) % to)]);

interface Header {
  readonly magic?: string;
  readonly version?: number;
  readonly tensors?: readonly Uint8Array[];
  readonly entries?: readonly Uint8Array[];
  readonly tensorCount?: number | bigint;
  readonly entryCount?: number | bigint;
}

function headerOf({ magic = 'GGUF', version = 3, tensors = [], entries = [], ...claimed }: Header): Uint8Array {
  const { tensorCount = tensors.length, entryCount = entries.length } = claimed;
  return concat([utf8(magic), u32(version), u64(tensorCount), u64(entryCount), ...entries, ...tensors]);
}

const open = (bytes: Uint8Array): ReturnType<typeof openGguf> => openGguf(memorySource('x.gguf', bytes));
const withData = (header: Header, bytes = 64): Uint8Array => concat([pad(headerOf(header)), new Uint8Array(bytes)]);

describe('headers', () => {
  it('of version 2, of other alignments, with every kind of metadata', async () => {
    const list = concat([u32(8), u64(2), text('a'), text('b')]);
    const nested = concat([u32(9), u64(1), u32(4), u64(3), u32(1), u32(2), u32(3)]);
    const header = headerOf({
      version: 2,
      entries: [
        entry('general.alignment', 4, u32(64)),
        entry('list', 9, list),
        entry('nested', 9, nested),
        entry('true', 7, Uint8Array.of(1)),
        entry('minus', 5, u32(0xffffffff)),
        entry('long', 10, u64(2n ** 63n)),
        entry('float', 6, new Uint8Array(Float32Array.of(0.5).buffer)),
      ],
      tensors: [tensor('b', [2], 0, 64), tensor('a', [4, 3, 2], 1, 0)],
    });
    const { metadata, tensors } = await open(concat([pad(header, 64), new Uint8Array(72)]));
    expect([...metadata]).toEqual([
      ['general.alignment', '64'],
      ['true', 'true'],
      ['minus', '-1'],
      ['long', String(2n ** 63n)],
      ['float', '0.5'],
    ]);
    const start = pad(header, 64).length;
    expect([...tensors]).toEqual([
      ['a', { dtype: 'F16', shape: [2, 3, 4], start, end: start + 48 }],
      ['b', { dtype: 'F32', shape: [2], start: start + 64, end: start + 72 }],
    ]);
  });

  it('longer than the first piece that is read', async () => {
    const names = Array.from({ length: 20_000 }, (_, i) => text(`token number ${i}`));
    const header = headerOf({
      entries: [entry('tokens', 9, concat([u32(8), u64(names.length), ...names]))],
      tensors: [tensor('w', [2], 0, 0)],
    });
    const { tensors } = await open(concat([pad(header), new Uint8Array(8)]));
    expect(tensors.get('w')).toMatchObject({ start: pad(header).length });
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['another magic', headerOf({ magic: 'GGML' }), /not a GGUF file/],
    ['nothing', new Uint8Array(), /an empty file/],
    ['too many tensors', headerOf({ tensorCount: 2n ** 40n }), /claims \d+ tensors/],
    ['too many entries', headerOf({ entryCount: 2 ** 30 }), /claims \d+ metadata entries/],
    ['a count beyond all numbers', headerOf({ tensorCount: 2n ** 64n - 1n }), /where a size was expected/],
    ['tensors that are not there', headerOf({ tensorCount: 3 }), /cut short/],
    ['entries that are not there', headerOf({ entryCount: 3 }), /cut short/],
    ['a key without end', headerOf({ entries: [u64(2n ** 50n)] }), /a string of \d+ bytes/],
    ['a string without end', headerOf({ entries: [entry('k', 8, u64(2n ** 40n))] }), /a string of \d+ bytes/],
    ['a list without end', headerOf({ entries: [entry('k', 9, concat([u32(10), u64(2n ** 52n)]))] }), /cut short/],
    ['a list of unknown type', headerOf({ entries: [entry('k', 9, concat([u32(77), u64(1)]))] }), /a list of type 77/],
    ['a value of unknown type', headerOf({ entries: [entry('k', 77, u32(1))] }), /a value of type 77/],
    [
      'lists in lists',
      headerOf({ entries: [entry('k', 9, concat(Array<Uint8Array>(20).fill(concat([u32(9), u64(1)]))))] }),
      /lists in lists/,
    ],
    ['a key twice', headerOf({ entries: [entry('k', 4, u32(1)), entry('k', 4, u32(1))] }), /"k" occurs twice/],
    ['an alignment of 0', withData({ entries: [entry('general.alignment', 4, u32(0))] }), /power of two/],
    ['an alignment of 24', withData({ entries: [entry('general.alignment', 4, u32(24))] }), /power of two/],
    ['an alignment in words', withData({ entries: [entry('general.alignment', 8, text('x'))] }), /power of two/],
    ['too many dimensions', withData({ tensors: [tensor('w', [1, 1, 1, 1, 1], 0, 0)] }), /5 dimensions/],
    ['too many values', withData({ tensors: [tensor('w', [2n ** 30n, 2n ** 30n], 0, 0)] }), /too many/],
    ['a row of half a block', withData({ tensors: [tensor('w', [16, 2], 8, 0)] }), /not whole blocks/],
    ['a row of no block', withData({ tensors: [tensor('w', [0, 2], 8, 0)] }), /not whole blocks/],
    ['a crooked offset', withData({ tensors: [tensor('w', [2], 0, 8)] }), /no multiple of 32/],
    ['an offset behind the file', withData({ tensors: [tensor('w', [2], 0, 64)] }), /cut short/],
    [
      'an offset beyond all numbers',
      withData({ tensors: [tensor('w', [2], 0, 2n ** 63n)] }),
      /where a size was expected/,
    ],
    ['a tensor longer than the file', withData({ tensors: [tensor('w', [17], 0, 0)] }), /cut short/],
    [
      'tensors over each other',
      withData({ tensors: [tensor('a', [9], 0, 0), tensor('b', [2], 0, 32)] }),
      /"b" overlaps/,
    ],
    ['a name twice', withData({ tensors: [tensor('a', [2], 0, 0), tensor('a', [2], 0, 32)] }), /the same name/],
  ])('%s', async (_, bytes, message) => {
    const problem = await problemOf(() => open(bytes));
    expect(problem.code).toBe('invalidModelFile');
    expect(problem.message).toMatch(message);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['version 1', headerOf({ version: 1 }), /of version 1/],
    ['big-endian', headerOf({ version: 0x03000000 }), /big-endian/],
    ['blocks of a kind that is not known', withData({ tensors: [tensor('w', [256], 16, 0)] }), /GGUF type 16/],
  ])('%s', async (_, bytes, message) => {
    const problem = await problemOf(() => open(bytes));
    expect(problem.code).toBe('unsupportedModel');
    expect(problem.message).toMatch(message);
  });

  it('never crashes on a changed file, and places no tensor outside it', async () => {
    const change = fc.record({ at: fc.nat({ max: 1200 }), byte: fc.nat({ max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { minLength: 1, maxLength: 4 }),
        fc.nat({ max: file.length }),
        async (changes, cut) => {
          const bytes = file.slice(0, cut % 7 === 0 ? cut : file.length);
          for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
          try {
            const { tensors } = await open(bytes);
            for (const { start, end } of tensors.values()) expect(start <= end && end <= bytes.length).toBe(true);
          } catch (error) {
            if (!(error instanceof DarkroomError)) throw error;
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
