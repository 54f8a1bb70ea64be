/**
 * @file PNG files of every depth and colour → RGB of 8 bits, to the bit: gray, palette, 1 to 16 bits; opacity is dropped, not blended.
 * Interlaced files are left to the platform. (`png.ts` reads and writes Darkroom's own pictures.) PNG specification, third edition.
 */
import { fail } from '../base/errors.js';
import { concat, inflate } from './deflate.js';
import type { RgbPicture } from './pixels.js';
import { readChunks } from './png-chunks.js';
import { unfilterRows } from './png-filter.js';

/** §11.2.1 Table 12: samples of a pixel by colour type, and the depths allowed. */
const KINDS: ReadonlyMap<number, { readonly samples: number; readonly depths: readonly number[] }> = new Map([
  [0, { samples: 1, depths: [1, 2, 4, 8, 16] }],
  [2, { samples: 3, depths: [8, 16] }],
  [3, { samples: 1, depths: [1, 2, 4, 8] }],
  [4, { samples: 2, depths: [8, 16] }],
  [6, { samples: 4, depths: [8, 16] }],
]);
const PALETTE = 3;

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colourType: number;
  readonly samples: number;
  readonly interlaced: boolean;
}

/**
 * The pixels of a PNG file; `undefined` for an interlaced one. The size was checked before (`readImageHeader`): memory for it is taken.
 * @throws `invalidImage` for damaged files.
 */
export async function decodePngRgb(bytes: Uint8Array<ArrayBuffer>): Promise<RgbPicture | undefined> {
  let header: Header | undefined;
  let palette: Uint8Array | undefined;
  const compressed: Uint8Array[] = [];
  for (const { type, data } of readChunks(bytes)) {
    if (header === undefined) header = parseHeader(type, data);
    else if (type === 'PLTE') palette = data;
    else if (type === 'IDAT') compressed.push(data);
  }
  if (header === undefined || compressed.length === 0) throw fail('invalidImage', 'PNG has no pixels: no IDAT chunk.');
  if (header.interlaced) return undefined;
  if (header.colourType === PALETTE && palette === undefined) throw fail('invalidImage', 'PNG has no palette (PLTE).');
  const rows = await unpackRows(header, compressed);
  return { width: header.width, height: header.height, rgb: toRgb(header, rows, palette) };
}

function parseHeader(type: string, data: Uint8Array<ArrayBuffer>): Header {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [depth = 0, colourType = -1, compression, filter, interlace = 2] = data.subarray(8);
  const kind = KINDS.get(colourType);
  const known = kind?.depths.includes(depth) === true && compression === 0 && filter === 0 && interlace <= 1;
  if (type !== 'IHDR' || data.length !== 13 || kind === undefined || !known) {
    throw fail(
      'invalidImage',
      `PNG: the header ${JSON.stringify(type)} says ${depth} bits of colour type ${colourType}.`,
    );
  }
  const { samples } = kind;
  return {
    width: view.getUint32(0),
    height: view.getUint32(4),
    depth,
    colourType,
    samples,
    interlaced: interlace === 1,
  };
}

/** Rows of packed samples, without filters. */
async function unpackRows(header: Header, compressed: readonly Uint8Array[]): Promise<Uint8Array> {
  const { width, height, depth, samples } = header;
  const rowBytes = Math.ceil((width * samples * depth) / 8);
  const expected = height * (1 + rowBytes);
  const total = compressed.reduce((sum, part) => sum + part.length, 0);
  const filtered = await inflate(concat(compressed, total), expected, `PNG of ${width}×${height}`);
  if (filtered.length < expected) {
    throw fail('invalidImage', `PNG of ${width}×${height} needs ${expected} bytes of data, got ${filtered.length}.`);
  }
  // Filters look back by whole bytes: one pixel, or one byte where pixels are smaller (§9.2).
  const pixelBytes = Math.max(1, (samples * depth) / 8);
  return unfilterRows(filtered, rowBytes / pixelBytes, height, pixelBytes);
}

function toRgb(header: Header, rows: Uint8Array, palette: Uint8Array | undefined): Uint8Array {
  const { width, height, samples, depth, colourType } = header;
  if (depth >= 8 && colourType !== PALETTE) return wholeBytes(rows, samples, depth / 8);
  const sampleAt = sampleReader(header, rows);
  const isGray = samples < 3;
  const rgb = new Uint8Array(3 * width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      for (let channel = 0; channel < 3; channel++) {
        const value = sampleAt(y, x * samples + (isGray ? 0 : channel));
        rgb[to + channel] = colourType === PALETTE ? (palette?.[3 * value + channel] ?? 0) : value;
      }
    }
  }
  return rgb;
}

/** Colours or grays of samples that are whole bytes, the upper of which counts: most pictures, and the largest. */
function wholeBytes(rows: Uint8Array, samples: number, sampleBytes: number): Uint8Array {
  const pixelBytes = samples * sampleBytes;
  const [green, blue] = samples < 3 ? [0, 0] : [sampleBytes, 2 * sampleBytes];
  const rgb = new Uint8Array((3 * rows.length) / pixelBytes);
  for (let from = 0, to = 0; to < rgb.length; from += pixelBytes, to += 3) {
    rgb[to] = rows[from] ?? 0;
    rgb[to + 1] = rows[from + green] ?? 0;
    rgb[to + 2] = rows[from + blue] ?? 0;
  }
  return rgb;
}

/** Reads sample `i` of row `y` as 8 bits: smaller depths are stretched to 0…255 (palette indices are not). */
function sampleReader(
  { width, depth, samples, colourType }: Header,
  rows: Uint8Array,
): (y: number, i: number) => number {
  const rowBytes = Math.ceil((width * samples * depth) / 8);
  if (depth === 8) return (y, i) => rows[y * rowBytes + i] ?? 0;
  const mask = 2 ** depth - 1;
  const stretch = colourType === PALETTE ? 1 : 255 / mask;
  return (y, i) => {
    const bit = i * depth;
    return (((rows[y * rowBytes + (bit >> 3)] ?? 0) >> (8 - depth - (bit & 7))) & mask) * stretch;
  };
}
