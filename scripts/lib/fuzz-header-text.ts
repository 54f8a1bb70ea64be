/** @file Fuzz target: safetensors headers changed as text, judged both ways by the format's rules, written down once more: all that is right is accepted, and nothing else. */
import { openSafetensors } from '../../src/assets/safetensors.js';
import { judgeJson, mutateJsonText, toBytes } from './fuzz-json.js';
import { isShape, mutateHeader, product, SIZES, virtualSource, withPlaces, type Header } from './fuzz-headers.js';
import { isObject, join } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, must, type Target } from './fuzz-target.js';

const SEEDS: readonly Header[] = [
  { 'a.weight': { dtype: 'F32', shape: [2, 3] }, 'a.bias': { dtype: 'F16', shape: [2] }, b: { dtype: 'U8', shape: [] } },
  { __metadata__: { format: 'pt', 'modelspec.title': 'é' }, x: { dtype: 'BF16', shape: [4, 0, 2] }, y: { dtype: 'I64', shape: [1, 1, 1, 5] } },
  { __proto__x: { dtype: 'F8_E4M3', shape: [7] }, constructor: { dtype: 'BOOL', shape: [3] }, '': { dtype: 'F64', shape: [2] } },
  {},
]; // prettier-ignore

/** Places that no writer makes: holes, overlaps, turned around, beyond what a number can say. */
function misplace(header: Header, random: Random): Header {
  const entries = Object.entries(header);
  const at = random.int(entries.length + 1);
  return Object.fromEntries(
    entries.map(([name, entry], i) => {
      const places = isObject(entry) ? entry['data_offsets'] : undefined;
      if (i !== at || !isObject(entry) || !isShape(places)) return [name, entry];
      const [begin = 0, end = 0] = places;
      const other = random.pick<readonly unknown[]>([
        [begin + 1, end + 1],
        [end, begin],
        [begin, end - 1],
        [begin],
        [begin, end, end],
        [2 ** 53 - (end - begin), 2 ** 53],
        [-1, end - begin - 1],
        [begin + 0.5, end + 0.5],
        [String(begin), String(end)],
        [],
        [0, 0],
        [begin, begin],
      ]);
      return [name, { ...entry, data_offsets: other }];
    }),
  );
}

/** The names in a header, where it is one: github.com/huggingface/safetensors, README, "Format". */
function validNames(text: string, size: number): readonly string[] | undefined {
  const judged = judgeJson(text);
  if (judged === undefined || judged.twice || judged.odd || judged.depth > 64 || !isObject(judged.value))
    return undefined;
  const { __metadata__: metadata, ...tensors } = judged.value;
  const texts = metadata === undefined || metadata === null || isObject(metadata);
  if (!texts || !Object.values(metadata ?? {}).every((value) => typeof value === 'string')) return undefined;
  const isSize = (n: unknown): boolean => Number.isSafeInteger(n) && Number(n) >= 0 && !Object.is(n, -0);
  const places: (readonly [number, number])[] = [];
  for (const entry of Object.values(tensors)) {
    if (!isObject(entry)) return undefined;
    const { dtype, shape, data_offsets: offsets } = entry;
    if (typeof dtype !== 'string' || !Object.hasOwn(SIZES, dtype) || !isShape(shape) || !isShape(offsets)) return undefined; // prettier-ignore
    const [begin = -1, end = -1] = offsets;
    if (![...shape, ...offsets].every(isSize) || offsets.length !== 2) return undefined;
    // A product that passes what a number can say on its way is refused, even where a 0 follows.
    const steps = shape.map((_, i) => product(shape.slice(0, i + 1)) * (SIZES[dtype] ?? NaN));
    if (!steps.every(Number.isSafeInteger) || (steps.at(-1) ?? SIZES[dtype]) !== end - begin) return undefined;
    places.push([begin, end]);
  }
  places.sort(([a, b], [c, d]) => a - c || b - d);
  const last = places.reduce<number | undefined>((at, [begin, end]) => (begin === at ? end : undefined), 0);
  return last === size ? Object.keys(tensors) : undefined;
}

export const headerTextTarget: Target = {
  kind: 'header-text',
  async run(random) {
    const seed = random.pick(SEEDS);
    const changed = random.chance(0.4) ? mutateHeader(seed, random) : withPlaces(seed);
    const placed = isObject(changed) && random.chance(0.3) ? misplace(changed, random) : changed;
    const plain = mutateJsonText(placed, random);
    const text = plain + ' '.repeat(random.chance(0.3) ? random.int(9) : 0);
    const bytes = toBytes(text, random);
    const length = BigInt(bytes.length) + BigInt(random.chance(0.03) ? random.pick([1, -1, 8, 2 ** 32, 2 ** 53]) : 0);
    const head = join(new Uint8Array(8), bytes);
    new DataView(head.buffer).setBigUint64(0, BigInt.asUintN(64, length), true);
    const end = isObject(placed) ? Math.max(0, ...Object.values(placed).map(lastPlace)) : 0;
    const data = Math.min(end, 2 ** 50) + (random.chance(0.05) ? 1 : 0);
    const opened = await attempt(() =>
      openSafetensors(virtualSource('f.safetensors', head, head.length + data, Uint8Array.of(0))),
    );
    const whole = length === BigInt(bytes.length) && bytes[0] === 0x7b;
    const decoded = whole ? decode(bytes) : undefined;
    const names = decoded === undefined ? undefined : validNames(decoded, data);
    const shown = (): string => JSON.stringify(text.slice(0, 400));
    // Other lengths of the header make other files; they may be right by chance, and are judged by the other targets.
    if (length === BigInt(bytes.length))
      must((opened !== undefined) === (names !== undefined), () => `${shown()}, ${data} bytes: ${names === undefined ? 'wrong' : 'right'}`); // prettier-ignore
    if (opened !== undefined && names !== undefined)
      must([...opened.value.tensors.keys()].sort().join('\n') === [...names].sort().join('\n'), () => `${shown()}: other names`); // prettier-ignore
    return opened === undefined ? 'refused' : 'accepted';
  },
};

function lastPlace(entry: unknown): number {
  const offsets = isObject(entry) ? entry['data_offsets'] : undefined;
  const end: unknown = Array.isArray(offsets) ? offsets[1] : 0;
  return Number.isSafeInteger(end) ? Number(end) : 0;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
