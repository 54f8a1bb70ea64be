/** @file GGUF files for the fuzzer: written from a table of tensors with metadata, any of it wrong; and the target that reads their headers. */
import { memorySource } from '../../src/assets/byte-source.js';
import { openGguf, type GgufTensor } from '../../src/assets/gguf.js';
import type { ByteSource } from '../../src/assets/source.js';
import type { Golden } from './fuzz-configs.js';
import { originalFlux, SMALL_FLUX, type Shapes } from './fuzz-flux-shapes.js';
import { product, virtualSource } from './fuzz-headers.js';
import { join, mutateBytes, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { judge, must, type Target } from './fuzz-target.js';

/** Name, number in the file, values and bytes of a block: written down once more. */
const TYPES = [
  ['F32', 0, 1, 4], ['F16', 1, 1, 2], ['Q4_0', 2, 32, 18], ['Q4_1', 3, 32, 20], ['Q5_0', 6, 32, 22], ['Q5_1', 7, 32, 24], ['Q8_0', 8, 32, 34],
  ['Q2_K', 10, 256, 84], ['Q3_K', 11, 256, 110], ['Q4_K', 12, 256, 144], ['Q5_K', 13, 256, 176], ['Q6_K', 14, 256, 210], ['IQ4_NL', 20, 32, 18],
  ['IQ4_XS', 23, 256, 136], ['I8', 24, 1, 1], ['I16', 25, 1, 2], ['I32', 26, 1, 4], ['I64', 27, 1, 8], ['F64', 28, 1, 8], ['BF16', 30, 1, 2],
] as const; // prettier-ignore

/** Bytes of a tensor, whose rows are whole blocks; NaN where they are not. */
export function ggufBytes(dtype: string, shape: readonly number[]): number {
  const [, , values = NaN, bytes = NaN] = TYPES.find(([name]) => name === dtype) ?? [];
  return (shape.at(-1) ?? 1) % values === 0 ? (product(shape) / values) * bytes : NaN;
}

interface Entry {
  readonly name: string;
  readonly type: number;
  /** The fastest first. */
  readonly sizes: readonly number[];
  readonly bytes: number;
  readonly offset: number;
}

/** A whole file of these tensors, each in a type that its rows allow, with some of its table wrong. */
export function ggufSource(name: string, shapes: Shapes, random: Random, wrong = true): ByteSource {
  const alignment = wrong && random.chance(0.1) ? random.pick([1, 8, 64, 3, 0, 2 ** 21]) : 32;
  const quantised = random.pick(TYPES);
  let at = 0;
  const entries = Object.entries(shapes).map(([tensor, shape]): Entry => {
    const plain = random.pick([TYPES[0], TYPES[1], TYPES[19]]);
    const type = shape.length === 2 && (shape[1] ?? 0) % quantised[2] === 0 ? quantised : plain;
    const bytes = (product(shape) / type[2]) * type[3];
    const offset = at;
    at = Math.ceil((at + bytes) / 32) * 32;
    return { name: tensor, type: type[1], sizes: shape.toReversed(), bytes, offset };
  });
  const changed = wrong ? mutateEntries(entries, random) : entries;
  const metadata = [
    entry('general.architecture', text('flux')),
    ...someMetadata(alignment, wrong ? random : undefined),
  ];
  const counts =
    wrong && random.chance(0.05)
      ? [changed.length + random.int(3) - 1, metadata.length + random.int(3) - 1]
      : [changed.length, metadata.length];
  const head = join(
    new TextEncoder().encode('GGUF'),
    u32(wrong && random.chance(0.02) ? random.pick([0, 1, 4, 0x03000000]) : random.pick([2, 3])),
    ...counts.map(u64),
    ...metadata,
    ...changed.map((tensor) =>
      join(text(tensor.name), u32(tensor.sizes.length), ...tensor.sizes.map(u64), u32(tensor.type), u64(tensor.offset)),
    ),
  );
  const dataStart = Math.ceil(head.length / 32) * 32;
  const end = entries.reduce((last, { offset, bytes }) => Math.max(last, offset + bytes), 0);
  const size = dataStart + end + (wrong && random.chance(0.1) ? random.int(80) - 40 : 0);
  return virtualSource(name, head, Math.max(0, size), Uint8Array.of(0, 60, 17, 61, 3, 44));
}

function mutateEntries(entries: readonly Entry[], random: Random): readonly Entry[] {
  const out = [...entries];
  for (let n = random.int(4); n > 0 && out.length > 0; n--) {
    const at = random.int(out.length);
    const one = out[at];
    if (one === undefined) continue;
    out.splice(at, 1, ...editEntry(one, random));
  }
  return out;
}

function editEntry(one: Entry, random: Random): readonly Entry[] {
  const axis = random.int(Math.max(1, one.sizes.length));
  const size = one.sizes[axis] ?? 1;
  switch (random.int(8)) {
    case 0:
      return [];
    case 1:
      return [{ ...one, name: mutateText(one.name, random) }];
    case 2:
      return [{ ...one, type: random.pick([...TYPES.map(([, type]) => type), 4, 9, 31, 2 ** 31]) }];
    case 3:
      return [
        {
          ...one,
          sizes: one.sizes.toSpliced(axis, 1, random.pick([0, 1, size + 1, size * 2, size >> 1, 2 ** 40, 2 ** 53])),
        },
      ];
    case 4:
      return [
        {
          ...one,
          sizes: random.pick([
            [],
            one.sizes.toReversed(),
            [...one.sizes, 1],
            [1, 1, ...one.sizes],
            [1, 1, 1, ...one.sizes],
          ]),
        },
      ];
    case 5:
      return [
        { ...one, offset: random.pick([0, 1, 32, one.offset + 32, Math.max(0, one.offset - 32), 2 ** 40, 2 ** 53]) },
      ];
    case 6:
      return [one, { ...one, name: random.chance(0.5) ? one.name : `${one.name}.again` }];
    default:
      return [
        {
          ...one,
          name: random.pick(['', '\0', 'x'.repeat(70_000), '__proto__', one.name.replace('double', 'single')]),
        },
      ];
  }
}

/** Entries as they are, and as they should not be. */
function someMetadata(alignment: number, random: Random | undefined): readonly Uint8Array[] {
  const usual = [entry('general.alignment', join(u32(4), u32(alignment)), true)];
  if (random === undefined) return usual;
  const list = (type: number, count: number, ...values: readonly Uint8Array[]): Uint8Array =>
    join(u32(9), u32(type), u64(count), ...values);
  const nested = (depth: number): Uint8Array => {
    let inner = join(u32(0), u64(1), Uint8Array.of(1));
    for (let n = depth; n > 0; n--) inner = join(u32(9), u64(1), inner);
    return join(u32(9), inner);
  };
  const odd = [
    () => entry('general.name', text('a model')),
    () => entry('f', join(u32(6), u32(0x7fc00000)), true),
    () => entry('list', list(4, 3, u32(1), u32(2), u32(3)), true),
    () => entry('strings', list(8, 2, text('a'), text('b')), true),
    () => entry('long', list(0, random.pick([2 ** 20, 2 ** 40, 2 ** 53 - 1])), true),
    () => entry('empty lists', list(9, random.pick([0, 1, 2 ** 31])), true),
    () => entry('nested', nested(random.pick([1, 6, 7, 20])), true),
    () => entry('unknown', join(u32(random.pick([13, 99]))), true),
    () => entry('general.alignment', text('32')),
    () => entry('comfy.gguf.orig_shape.img_in.weight', list(5, 2, u32(256), u32(64)), true),
  ];
  return random.chance(0.5) ? usual : [...usual, ...Array.from({ length: random.int(4) }, () => random.pick(odd)())];
}

/** A key with its value, which a string's type is put before. */
function entry(key: string, value: Uint8Array, typed = false): Uint8Array {
  return join(text(key), ...(typed ? [] : [u32(8)]), value);
}

function u32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

function u64(value: number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return out;
}

function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return join(u64(bytes.length), bytes);
}

export function checkGguf(tensors: ReadonlyMap<string, GgufTensor>, size: number): void {
  const sorted = [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end);
  sorted.forEach(({ shape, dtype, start, end }, i) => {
    must(start > 0 && start <= end && end <= size, () => `bytes ${start} to ${end} of ${size}`);
    must(i === 0 || start >= (sorted[i - 1]?.end ?? 0), () => `an overlap at ${start}`);
    must(shape.length <= 4 && shape.every((n) => Number.isInteger(n) && n >= 0), () => `shape ${shape.join()}`);
    must(ggufBytes(dtype, shape) === end - start, () => `${dtype} [${shape.join()}] in ${end - start} bytes`);
  });
}

export function ggufTargets(golden: Golden): readonly Target[] {
  const file = golden.read('unit/gguf/all-types.gguf');
  const shapes = originalFlux({ ...SMALL_FLUX, double: 1, single: 1 });
  const read = (source: ByteSource) =>
    judge(
      () => openGguf(source),
      ({ tensors }) => checkGguf(tensors, source.size),
    );
  return [
    {
      kind: 'gguf',
      run(random) {
        const bytes = mutateBytes(file.slice(0, random.chance(0.9) ? file.length : random.int(file.length)), random);
        return read(memorySource('f.gguf', bytes));
      },
    },
    { kind: 'gguf-table', run: (random) => read(ggufSource('f.gguf', shapes, random)) },
  ];
}
