/**
 * @file PNG files with their parameters inside: writer and reader (PNG specification, third edition). 8 bits per channel,
 * not interlaced, no palette. May import base and the files beside it.
 */
import { fail } from '../base/errors.js';
import { concat, deflate, inflate } from './deflate.js';
import type { RgbaPicture, RgbPicture } from './pixels.js';
import { readChunks, SIGNATURE, writeChunk } from './png-chunks.js';
import { filterRows, unfilterRows } from './png-filter.js';
import { writeText } from './png-text.js';

export { readPngText } from './png-text.js';

/** What a file held: pixels row by row, 8 bits per channel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. `data` has `width·height·channels` bytes. */
export interface Bitmap {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 2 | 3 | 4;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Larger sides or areas are refused before memory is taken (a 16384² file of zeros is 1 MB compressed, 1 GB unpacked). */
const MAX_SIDE = 16_384;
const MAX_PIXELS = 2 ** 26;

/** §11.2.1 Table 12: colour type by channels, and back. */
const COLOUR_TYPE = { 1: 0, 2: 4, 3: 2, 4: 6 } as const satisfies Record<Bitmap['channels'], number>;
const CHANNELS: ReadonlyMap<number, Bitmap['channels']> = new Map([
  [0, 1],
  [4, 2],
  [2, 3],
  [6, 4],
]);

/**
 * Writes a PNG file.
 * @param picture RGB or RGBA; sides 1…16384.
 * @param text keyword → text, stored before the pixels so that readers find it early.
 * @throws `invalidImage` when there are not `width·height·3` (RGBA: 4) bytes.
 * @example
 * const file = await encodePng({ width: 1, height: 1, rgb: Uint8Array.of(255, 0, 0) }, { Comment: 'red' });
 */
export async function encodePng(
  picture: RgbPicture | RgbaPicture,
  text: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { width, height } = picture;
  const [channels, data] = 'rgb' in picture ? ([3, picture.rgb] as const) : ([4, picture.rgba] as const);
  checkSize(width, height);
  if (data.length !== width * height * channels) {
    throw fail(
      'invalidImage',
      `${width}×${height}×${channels} needs ${width * height * channels} bytes, got ${data.length}.`,
    );
  }
  const pixels = await deflate(filterRows(data, width, height, channels));
  const parts = [
    Uint8Array.from(SIGNATURE),
    writeChunk('IHDR', header(width, height, COLOUR_TYPE[channels])),
    ...Object.entries(text).map(([keyword, value]) => writeText(keyword, value)),
    writeChunk('IDAT', pixels),
    writeChunk('IEND', new Uint8Array(0)),
  ];
  return concat(
    parts,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
}

/** §11.2.1: width, height, 8 bits, colour type; deflate, adaptive filters, not interlaced. */
function header(width: number, height: number, colourType: number): Uint8Array {
  const data = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 8, colourType, 0, 0, 0);
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  return data;
}

/**
 * Reads a PNG file of gray, gray + alpha, RGB or RGBA pixels with 8 bits per channel, not interlaced.
 * Every length and checksum is checked, and memory is bounded by the size in the header.
 * @throws `invalidImage` for anything else, and for damaged files.
 */
export async function decodePng(bytes: Uint8Array<ArrayBuffer>): Promise<Bitmap> {
  let size: Omit<Bitmap, 'data'> | undefined;
  const compressed: Uint8Array[] = [];
  for (const { type, data } of readChunks(bytes)) {
    if (size === undefined) size = parseHeader(type, data);
    else if (type === 'IDAT') compressed.push(data);
  }
  if (size === undefined || compressed.length === 0) throw fail('invalidImage', 'PNG has no pixels: no IDAT chunk.');
  const { width, height, channels } = size;
  const expected = height * (1 + width * channels);
  const total = compressed.reduce((sum, part) => sum + part.length, 0);
  const filtered = await inflate(concat(compressed, total), expected, `PNG of ${width}×${height}×${channels}`);
  if (filtered.length < expected) {
    throw fail(
      'invalidImage',
      `PNG of ${width}×${height}×${channels} needs ${expected} bytes, got ${filtered.length}.`,
    );
  }
  return { ...size, data: unfilterRows(filtered, width, height, channels) };
}

function parseHeader(type: string, data: Uint8Array<ArrayBuffer>): Omit<Bitmap, 'data'> {
  if (type !== 'IHDR' || data.length !== 13) {
    throw fail(
      'invalidImage',
      `PNG must start with an IHDR chunk of 13 bytes, got ${JSON.stringify(type)} of ${data.length}.`,
    );
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  checkSize(width, height);
  const [depth, colourType, compression, filter, interlace] = data.subarray(8);
  const channels = CHANNELS.get(colourType ?? -1);
  if (channels === undefined || depth !== 8 || compression !== 0 || filter !== 0 || interlace !== 0) {
    throw fail(
      'invalidImage',
      `PNG with ${depth} bits, colour type ${colourType}, interlace ${interlace}; expected 8 bits, gray or RGB with or without alpha, not interlaced.`,
      { hint: 'Save the picture as an ordinary 8-bit RGB PNG.' },
    );
  }
  return { width, height, channels };
}

function checkSize(width: number, height: number): void {
  const ok = [width, height].every((side) => Number.isInteger(side) && side >= 1 && side <= MAX_SIDE);
  if (ok && width * height <= MAX_PIXELS) return;
  throw fail(
    'invalidImage',
    `A picture of ${width}×${height}: expected sides from 1 to ${MAX_SIDE} and at most ${MAX_PIXELS} pixels.`,
  );
}
