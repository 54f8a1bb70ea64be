/** @file Fuzz target: whole PNG files put together of chunks of every kind, right and wrong, against libvips (through sharp): what is accepted is accepted there, with the same pixels. */
import { constants, crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { fail } from '../../src/base/errors.js';
import { decodePng, readPngText } from '../../src/image/png.js';
import { readPicture } from '../../src/image/read-picture.js';
import { join } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, must, type Target } from './fuzz-target.js';

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const TEXT = new TextEncoder();

interface Piece {
  readonly type: string;
  readonly data: Uint8Array;
}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colourType: number;
  readonly interlace: number;
}

const SAMPLES: ReadonlyMap<number, number> = new Map([[0, 1], [2, 3], [3, 1], [4, 2], [6, 4]]); // prettier-ignore
const DEPTHS: ReadonlyMap<number, readonly number[]> = new Map([[0, [1, 2, 4, 8, 16]], [2, [8, 16]], [3, [1, 2, 4, 8]], [4, [8, 16]], [6, [8, 16]]]); // prettier-ignore

function anyHeader(random: Random): Header {
  const colourType = random.pick([0, 2, 3, 4, 6, 0, 2, 3, 4, 6, 1, 5, 7]);
  const depth = random.chance(0.95) ? random.pick(DEPTHS.get(colourType) ?? [8]) : random.pick([0, 3, 4, 16, 32]);
  const [width, height] = [1 + random.int(24), 1 + random.int(24)];
  const huge = random.pick([0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 16_385, 65_536]);
  const odd = random.chance(0.04) ? { [random.pick(['width', 'height'])]: huge } : {};
  return { width, height, depth, colourType, interlace: random.pick([0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), ...odd };
}

function headerChunk({ width, height, depth, colourType, interlace }: Header, random: Random): Piece {
  const data = new Uint8Array(random.chance(0.98) ? 13 : random.pick([12, 14]));
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  data.set([depth, colourType, ...(random.chance(0.98) ? [0, 0] : [1, 1]), interlace].slice(0, data.length - 8), 8);
  return { type: 'IHDR', data };
}

/** Bytes of the rows of a picture, or of one of its seven passes. */
function rowsOf({ depth, colourType }: Header, width: number, height: number, random: Random): Uint8Array {
  if (width === 0 || height === 0) return new Uint8Array();
  const row = Math.ceil((width * (SAMPLES.get(colourType) ?? 1) * depth) / 8);
  const flat = random.chance(0.2);
  const filter = random.chance(0.01) ? 5 + random.int(250) : undefined;
  return Uint8Array.from({ length: height * (row + 1) }, (_, i) =>
    i % (row + 1) === 0 ? (filter ?? random.int(5)) : flat ? 0 : random.int(256),
  );
}

/** §8.2, Adam7: first column and row, and steps. */
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const; // prettier-ignore

function pixelsOf(header: Header, random: Random): Uint8Array {
  const { width, height, interlace } = header;
  if (width > 64 || height > 64) return new Uint8Array(1000);
  if (interlace !== 1) return rowsOf(header, width, height, random);
  const passes = PASSES.map(([x, y, dx, dy]) =>
    rowsOf(header, Math.ceil(Math.max(0, width - x) / dx), Math.ceil(Math.max(0, height - y) / dy), random),
  );
  return join(...passes);
}

/** A few KB that unpack to much more than any of these pictures has. */
const BOMBS = [2 ** 16, 2 ** 22, 2 ** 24].map((size) => deflateSync(new Uint8Array(size)));

/** A zlib stream, right or not: of another level, with more or less in it, without its checksum, a bomb. */
function pack(bytes: Uint8Array, random: Random): Uint8Array {
  switch (random.int(24)) {
    case 0:
      return deflateSync(bytes.subarray(0, random.int(bytes.length + 1)));
    case 1:
      return deflateSync(join(bytes, new Uint8Array(1 + random.int(50))));
    case 2:
      return deflateSync(bytes).subarray(0, -random.pick([1, 4, 5]));
    case 3: {
      const wrong = Uint8Array.from(deflateSync(bytes));
      wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1; // the checksum
      return wrong;
    }
    case 4:
      return random.pick(BOMBS);
    case 5:
      return new Uint8Array();
    case 6:
      return deflateSync(bytes, { level: 0 });
    case 7:
      return deflateSync(bytes, { level: 9, strategy: constants.Z_HUFFMAN_ONLY });
    default:
      return deflateSync(bytes);
  }
}

function textChunk(random: Random): Piece {
  const packed = random.chance(0.1) ? random.pick(BOMBS) : deflateSync(TEXT.encode('a red fox\nSteps: 3'));
  const key = TEXT.encode(random.pick(['parameters', 'darkroom', '', 'x'.repeat(90), '__proto__']));
  return random.pick<Piece>([
    { type: 'tEXt', data: join(key, Uint8Array.of(0), TEXT.encode('a fox')) },
    { type: 'tEXt', data: key },
    { type: 'zTXt', data: join(key, Uint8Array.of(0, random.pick([0, 0, 1])), packed) },
    { type: 'iTXt', data: join(key, Uint8Array.of(0, 1, 0, 0, 0), packed) },
    { type: 'iTXt', data: join(key, Uint8Array.of(0, 0, 0, 0, 0), TEXT.encode('füchse')) },
    { type: 'iTXt', data: join(key, Uint8Array.of(0, 0, 0), TEXT.encode('no end')) },
  ]);
}

function palette(random: Random): Piece {
  const entries = random.pick([1, 2, 16, 256, 256, 256]);
  const length = random.chance(0.95) ? 3 * entries : random.pick([0, 1, 4, 768 + 3]);
  return { type: 'PLTE', data: Uint8Array.from({ length }, () => random.int(256)) };
}

/** What files have besides, and what they should not. */
function other(random: Random): Piece {
  const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => random.int(256));
  return random.pick<() => Piece>([
    () => textChunk(random),
    () => textChunk(random),
    () => ({ type: 'tRNS', data: bytes(random.pick([0, 1, 2, 6, 256])) }),
    () => ({ type: 'gAMA', data: bytes(4) }),
    () => ({ type: 'pHYs', data: bytes(9) }),
    () => ({ type: 'aBCd', data: bytes(random.int(40)) }),
    () => ({ type: random.pick(['ABCD', 'A1CD', 'ab d', '\0\0\0\0', 'IDAt']), data: bytes(random.int(40)) }),
    () => palette(random),
    () => ({ type: 'IDAT', data: bytes(random.int(3)) }),
    () => ({ type: 'IHDR', data: bytes(13) }),
    () => ({ type: 'IEND', data: new Uint8Array() }),
  ])();
}

function write({ type, data }: Piece, random: Random): Uint8Array {
  const out = new Uint8Array(data.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, random.chance(0.998) ? data.length : random.pick([data.length + 1, 2 ** 31, 2 ** 32 - 1]));
  out.set([...type].map((letter) => letter.charCodeAt(0)), 4); // prettier-ignore
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)) ^ (random.chance(0.998) ? 0 : 1));
  return out;
}

interface Made {
  readonly file: Uint8Array<ArrayBuffer>;
  readonly header: Header;
}

function makeFile(random: Random): Made {
  const header = anyHeader(random);
  const packed = pack(pixelsOf(header, random), random);
  const size = random.pick([packed.length, packed.length, 1, 7, 100]);
  const data: Piece[] = [];
  for (let at = 0; at < packed.length && data.length < 400; at += size)
    data.push({ type: 'IDAT', data: packed.subarray(at, at + size) });
  const colours = header.colourType === 3 ? random.chance(0.97) : random.chance(0.05);
  const pieces = [headerChunk(header, random), ...(colours ? [palette(random)] : []), ...data];
  pieces.push({ type: 'IEND', data: new Uint8Array() });
  for (let n = Math.floor(4 * random.real() ** 3); n > 0; n--)
    pieces.splice(1 + random.int(pieces.length), 0, other(random));
  if (random.chance(0.05)) pieces.splice(random.int(pieces.length), 1);
  const tail = random.chance(0.05) ? Uint8Array.of(1, 2, 3) : new Uint8Array();
  const file = join(SIGNATURE, ...pieces.map((piece) => write(piece, random)), tail);
  return { file: random.chance(0.02) ? file.slice(0, random.int(file.length)) : file, header };
}

/** What libvips makes of it; `undefined` where it refuses it. Opacity is dropped, and nothing is warned of. */
async function byVips(file: Uint8Array): Promise<Uint8Array | undefined> {
  try {
    const image = sharp(file, { failOn: 'none', limitInputPixels: 2 ** 26 });
    return new Uint8Array(await image.toColourspace('srgb').removeAlpha().raw().toBuffer());
  } catch {
    return undefined;
  }
}

export const pngStructureTarget: Target = {
  kind: 'png-structure',
  async run(random) {
    const { file, header } = makeFile(random);
    const own = await attempt(() => decodePng(file));
    if (own !== undefined) {
      const { width, height, channels, data } = own.value;
      must(data.length === width * height * channels, () => `${width}×${height}×${channels}: ${data.length} bytes`);
    }
    const texts = await attempt(() => readPngText(file));
    must(texts === undefined || Object.values(texts.value).every((text) => text.length <= 2 ** 22), () => 'a text without end'); // prettier-ignore
    const decode = (): never => {
      throw fail('invalidImage', 'interlaced: for the platform');
    };
    const read = await attempt(() => readPicture(file, decode));
    if (read === undefined) return 'refused';
    const { width, height, rgb } = read.value.picture;
    const shown = (): string => `${JSON.stringify(header)}: ${Buffer.from(file).toString('base64').slice(0, 1500)}`;
    must(rgb.length === 3 * width * height, () => `${width}×${height}: ${rgb.length} bytes`);
    const expected = await byVips(file);
    must(expected !== undefined, () => `libvips refuses ${shown()}`);
    must(expected === undefined || Buffer.compare(expected, rgb) === 0, () => `other pixels of ${shown()}`);
    return 'accepted';
  },
};
