/** @file Headers of weight files for the fuzzer: taken from valid files, changed a little, and written before as many bytes as they speak of. */
import type { TensorInfo } from '../../src/assets/safetensors.js';
import type { ByteSource } from '../../src/assets/source.js';
import { isObject, join, mutateJson, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { must } from './fuzz-target.js';

/** A header before it is written: names of tensors, types, shapes. */
export type Header = Readonly<Record<string, unknown>>;

/** Bytes per element, written down once more: what the reader has is not to judge itself. */
export const SIZES: Readonly<Record<string, number>> = {
  F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1, F8_E4M3: 1, F8_E5M2: 1,
}; // prettier-ignore

export const product = (shape: readonly number[]): number => shape.reduce((total, size) => total * size, 1);

/** Every tensor has the bytes that its shape needs, and together they fill the file to its end. */
export function checkCover(tensors: readonly TensorInfo[], size: number): void {
  const sorted = [...tensors].sort((a, b) => a.start - b.start || a.end - b.end);
  sorted.forEach(({ dtype, shape, start, end }, i) => {
    must(
      shape.every((n) => Number.isInteger(n) && n >= 0),
      () => `shape ${shape.join()}`,
    );
    must(
      product(shape) * (SIZES[dtype] ?? NaN) === end - start,
      () => `${dtype} [${shape.join()}] in ${end - start} bytes`,
    );
    must(start >= 10 && end <= size, () => `bytes ${start} to ${end} of ${size}`);
    must(i === 0 || start === sorted[i - 1]?.end, () => `a hole or an overlap at ${start}`);
  });
  must((sorted.at(-1)?.end ?? size) === size, () => 'bytes behind the last tensor');
}

/** The header of a valid file. */
export function headerOf(file: Uint8Array): Header {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const json: unknown = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  return isObject(json) ? json : {};
}

export function dataOf(file: Uint8Array): Uint8Array {
  return file.subarray(8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true)));
}

export function shapesToHeader(list: unknown, dtype = 'F16'): Header {
  const tensors = isObject(list) && isObject(list['tensors']) ? list['tensors'] : {};
  return Object.fromEntries(Object.entries(tensors).map(([name, shape]) => [name, { dtype, shape }]));
}

/** Names, shapes and types changed; of most, places are then made right again, so that what is behind the header's own checks is reached. */
export function mutateHeader(header: Header, random: Random): unknown {
  const names = Object.keys(header).filter((name) => name !== '__metadata__');
  const entries = new Map(Object.entries(header));
  for (let n = 1 + random.int(4); n > 0 && names.length > 0; n--) {
    const name = random.pick(names);
    const entry = entries.get(name);
    switch (random.int(8)) {
      case 0:
        entries.delete(name);
        break;
      case 1:
        entries.delete(name);
        entries.set(mutateText(name, random), entry);
        break;
      case 2:
        entries.set(random.pick(names), entry);
        break;
      case 3:
        if (isObject(entry)) entries.set(name, { ...entry, dtype: random.pick([...Object.keys(SIZES), 'Q4', 'F32 ']) });
        break;
      case 4:
        if (isObject(entry)) entries.set(name, { ...entry, shape: mutateShape(entry['shape'], random) });
        break;
      case 5:
        entries.set('__metadata__', mutateJson(entries.get('__metadata__') ?? { format: 'pt' }, random));
        break;
      case 6:
        entries.set(name, random.chance(0.3) ? mutateJson(entry, random) : entries.get(random.pick(names)));
        break;
      default:
        entries.set(mutateText(name, random), entry);
    }
  }
  const mutated = Object.fromEntries(entries);
  return random.chance(0.8) ? withPlaces(mutated) : mutated;
}

/** Mostly still a list of sizes. */
function mutateShape(shape: unknown, random: Random): unknown {
  if (!isShape(shape) || random.chance(0.1)) return mutateJson(shape, random);
  const at = random.int(shape.length + 1);
  const size = shape[at] ?? 1;
  switch (random.int(5)) {
    case 0:
      return shape.toSpliced(at, 1);
    case 1:
      return shape.toSpliced(at, 0, random.pick([0, 1, 3, 2 ** 20]));
    case 2:
      return shape.toReversed();
    default:
      return shape.toSpliced(at, 1, random.pick([size + 1, size * 2, size >> 1, 1, 0, 4, 8, 2 ** 40]));
  }
}

/** Each tensor behind the one before it, as long as its shape says. */
export function withPlaces(header: Header): Header {
  let at = 0;
  return Object.fromEntries(
    Object.entries(header).map(([name, entry]) => {
      if (!isObject(entry) || name === '__metadata__' || !isShape(entry['shape'])) return [name, entry];
      const { dtype } = entry; // of JSON: anything
      const bytes = product(entry['shape']) * ((typeof dtype === 'string' ? SIZES[dtype] : undefined) ?? 1);
      at += bytes;
      return [name, { ...entry, data_offsets: [at - bytes, at] }];
    }),
  );
}

export function isShape(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => typeof size === 'number');
}

/** More than any header or small file has; who reads more of a hostile file at once can be made to fill the memory. */
const MOST_READ = 2 ** 27;

/** A file of this header, as long as its tensors say (or nearly); they are the bytes of `data` again and again. */
export function sourceOf(
  name: string,
  header: unknown,
  random: Random,
  data: Uint8Array = Uint8Array.of(0, 60, 1, 61),
): ByteSource {
  const text = new TextEncoder().encode(JSON.stringify(header) ?? 'null');
  const head = join(new Uint8Array(8), text);
  new DataView(head.buffer).setBigUint64(
    0,
    BigInt(random.chance(0.97) ? text.length : text.length + random.int(20) - 10),
    true,
  );
  const last = isObject(header)
    ? Object.values(header).reduce<number>((most, entry) => Math.max(most, endOf(entry)), 0)
    : 0;
  const size = head.length + Math.min(last, 2 ** 50) + (random.chance(0.95) ? 0 : random.int(9) - 4);
  return virtualSource(name, head, Math.max(0, size), data);
}

/** A file of `size` bytes that begins with `head`; behind it are the bytes of `data` again and again. */
export function virtualSource(name: string, head: Uint8Array, size: number, data: Uint8Array): ByteSource {
  return {
    name,
    size,
    read(start, end) {
      if (!(start >= 0 && start <= end && end <= size))
        throw new Error(`bytes ${start} to ${end} are asked of a file of ${size}`);
      if (end - start > MOST_READ) throw new Error(`${end - start} bytes are asked for at once`);
      const bytes = new Uint8Array(end - start);
      bytes.set(head.subarray(start, end));
      for (let at = Math.max(start, head.length); at < end; at++)
        bytes[at - start] = data[(at - head.length) % data.length] ?? 0;
      return Promise.resolve(bytes);
    },
  };
}

function endOf(entry: unknown): number {
  const offsets = isObject(entry) ? entry['data_offsets'] : undefined;
  const end: unknown = Array.isArray(offsets) ? offsets[1] : 0;
  return Number.isSafeInteger(end) ? Number(end) : 0;
}
