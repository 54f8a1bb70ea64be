/** @file Valid input → input that is a little wrong: bytes, text, and JSON values. Pure but for the chance that is given. */
import type { Random } from './fuzz-random.js';

/** Numbers at which readers break: ends of ranges, and what is no length. */
const ODD_NUMBERS: readonly number[] = [
  0,
  -0,
  1,
  -1,
  2,
  3,
  7,
  8,
  31,
  32,
  64,
  77,
  255,
  256,
  257,
  320,
  768,
  65_535,
  65_536,
  2 ** 24,
  2 ** 24 + 1,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63,
  2 ** 64,
  1e300,
  -1e300,
  0.5,
  1e-9,
  1.5,
  -0.5,
];

const ODD_TEXTS: readonly string[] = [
  '', ' ', '0', '-1', '1e9', 'NaN', 'null', '__proto__', 'constructor', 'toString', 'length', '../../etc/passwd', 'a/b', 'a\\b', '%00',
  '\0', '\n', '\r\n', '\u2028', '\ufeff', '\ud800', '🦊', 'ﷺ', 'é', 'İ', '"', "'", ',', ':', '<script>', 'x'.repeat(5000), '('.repeat(300),
  '[[', '{{', '\\', '</w>', '<|endoftext|>', 'F32', 'BF16', 'F8_E4M3', 'U8', 'I64',
]; // prettier-ignore

/** 1 to 8 edits, few more often than many. */
function edits(random: Random): number {
  return 1 + Math.floor(8 * random.real() ** 3);
}

/** Bytes with some of them changed, left out, put in, repeated, or cut off. */
export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  let out = Uint8Array.from(bytes);
  for (let n = edits(random); n > 0; n--) out = editBytes(out, random);
  return out;
}

function editBytes(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  // Most of what decides is near the beginning.
  const at = random.chance(0.5) ? random.int(Math.min(bytes.length, 64) + 1) : random.int(bytes.length + 1);
  const length = Math.min(1 + Math.floor(random.real() ** 4 * 64), bytes.length - at);
  switch (random.int(8)) {
    case 0: // one bit
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(8));
      return bytes;
    case 1: // one byte
      if (at < bytes.length) bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.int(256)]);
      return bytes;
    case 2: // a number, of either byte order
      return writeNumber(bytes, at, random);
    case 3: // cut off
      return bytes.slice(0, at);
    case 4: // leave out
      return join(bytes.subarray(0, at), bytes.subarray(at + length));
    case 5: // put in
      return join(
        bytes.subarray(0, at),
        Uint8Array.from({ length: 1 + random.int(16) }, () => random.int(256)),
        bytes.subarray(at),
      );
    case 6: // repeat
      return join(bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at));
    default: // from elsewhere
      bytes.copyWithin(at, random.int(bytes.length + 1), random.int(bytes.length + 1));
      return bytes;
  }
}

function writeNumber(bytes: Uint8Array<ArrayBuffer>, at: number, random: Random): Uint8Array<ArrayBuffer> {
  const value = BigInt(Math.trunc(Math.min(Math.abs(random.pick(ODD_NUMBERS)), 2 ** 64)));
  const view = new DataView(bytes.buffer);
  const little = random.chance(0.5);
  const size = random.pick([2, 4, 8] as const);
  if (at + size > bytes.length) return bytes;
  if (size === 8) view.setBigUint64(at, BigInt.asUintN(64, value), little);
  else if (size === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), little);
  else view.setUint16(at, Number(BigInt.asUintN(16, value)), little);
  return bytes;
}

export function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Text with characters or lines changed. */
export function mutateText(text: string, random: Random): string {
  let out = text;
  for (let n = edits(random); n > 0; n--) {
    const at = random.int(out.length + 1);
    const length = Math.floor(random.real() ** 4 * 200);
    switch (random.int(6)) {
      case 0:
        out = out.slice(0, at) + out.slice(at + length);
        break;
      case 1:
        out = out.slice(0, at) + random.pick(ODD_TEXTS) + out.slice(at);
        break;
      case 2:
        out =
          out.slice(0, at) + String.fromCharCode(random.int(random.pick([128, 0x500, 0x10000]))) + out.slice(at + 1);
        break;
      case 3:
        out = out.slice(0, at) + out.slice(at, at + length) + out.slice(at);
        break;
      case 4: {
        const lines = out.split('\n');
        const [line = ''] = lines.splice(random.int(lines.length), 1);
        lines.splice(random.int(lines.length + 1), 0, line);
        out = lines.join('\n');
        break;
      }
      default:
        out = out.slice(0, at) + String(random.pick(ODD_NUMBERS)) + out.slice(at + length);
    }
  }
  return out;
}

/** A JSON value with some of its parts replaced, renamed, left out, or given twice. */
export function mutateJson(value: unknown, random: Random): unknown {
  let out = value;
  for (let n = edits(random); n > 0; n--) out = editJson(out, random);
  return out;
}

/** Goes down at random and edits what is there. */
function editJson(value: unknown, random: Random): unknown {
  if (Array.isArray(value) && value.length > 0 && random.chance(0.85)) {
    const list = [...(value as readonly unknown[])]; // of JSON: anything
    const at = random.int(list.length);
    const kind = random.int(8);
    if (kind === 0) list.splice(at, 1);
    else if (kind === 1) list.splice(at, 0, list[at]);
    else if (kind === 2) list.push(oddValue(random));
    else list[at] = editJson(list[at], random);
    return list;
  }
  if (isObject(value) && Object.keys(value).length > 0 && random.chance(0.95)) return editObject(value, random);
  if (typeof value === 'number' && random.chance(0.5)) return nearNumber(value, random);
  if (typeof value === 'string' && random.chance(0.5)) return mutateText(value, random);
  return oddValue(random);
}

function editObject(value: Readonly<Record<string, unknown>>, random: Random): unknown {
  const entries = Object.entries(value);
  const at = random.int(entries.length);
  const [key, inner] = entries[at] ?? ['', undefined];
  switch (random.int(9)) {
    case 0:
      entries.splice(at, 1);
      break;
    case 1:
      entries[at] = [mutateText(key, random), inner];
      break;
    case 2:
      entries.push([random.pick(ODD_TEXTS), random.chance(0.5) ? inner : oddValue(random)]);
      break;
    case 3: {
      const [other = key] = entries[random.int(entries.length)] ?? [];
      entries[at] = [other, inner];
      break;
    }
    default:
      entries[at] = [key, editJson(inner, random)];
  }
  return Object.fromEntries(entries);
}

function nearNumber(value: number, random: Random): number {
  return random.pick([value + 1, value - 1, value * 2, Math.floor(value / 2), -value, value * 1024, value + 0.5]);
}

function oddValue(random: Random): unknown {
  const one = (): unknown =>
    random.pick<unknown>([null, true, false, random.pick(ODD_NUMBERS), random.pick(ODD_TEXTS), [], {}, [[]], { a: 1 }]);
  switch (random.int(6)) {
    case 0:
      return Array.from({ length: random.pick([1, 2, 4, 9, 1000]) }, one);
    case 1:
      return { [random.pick(ODD_TEXTS)]: one() };
    case 2: {
      let deep: unknown = one();
      for (let n = random.pick([5, 50, 2000]); n > 0; n--) deep = [deep];
      return deep;
    }
    default:
      return one();
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
