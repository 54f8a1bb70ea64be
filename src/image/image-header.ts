/**
 * @file What a picture file says of itself in its first bytes: kind, width and height, before anything is unpacked. Pure; may import base.
 * Sources: PNG specification §11.2.1; JPEG, ITU-T T.81 §B.2.2; WebP, RFC 9649 §2.5–2.7; GIF89a §18; BMP, BITMAPCOREHEADER and BITMAPINFOHEADER.
 */
import { fail } from '../base/errors.js';
import { isPng } from './png-chunks.js';

/** The kinds that are recognised. */
export type PictureMime = 'image/png' | 'image/jpeg' | 'image/webp' | 'image/gif' | 'image/bmp';

export interface ImageHeader {
  readonly mime: PictureMime;
  /** Pixels, as stored: a camera's note to turn the picture is not heard here. */
  readonly width: number;
  readonly height: number;
}

/**
 * The header of a picture file; `undefined` where the bytes are of no known kind.
 * @throws `invalidImage` for a file of a known kind that ends or breaks off before it says its size.
 */
export function readImageHeader(bytes: Uint8Array): ImageHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = kindOf(bytes);
  if (kind === undefined) return undefined;
  try {
    const [width, height] = READERS[kind](view);
    return { mime: kind, width, height };
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause; // DataView refuses to read behind the end
    throw fail('invalidImage', `The ${kind} file breaks off before its size: it has ${bytes.length} bytes.`, { cause });
  }
}

function kindOf(bytes: Uint8Array): PictureMime | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, 12));
  if (isPng(bytes)) return 'image/png';
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^RIFF[^]{4}WEBP$/.test(text)) return 'image/webp';
  if (/^GIF8[79]a/.test(text)) return 'image/gif';
  return text.startsWith('BM') ? 'image/bmp' : undefined;
}

type Size = readonly [width: number, height: number];

const READERS: Readonly<Record<PictureMime, (view: DataView) => Size>> = {
  'image/png': (view) => [view.getUint32(16), view.getUint32(20)],
  'image/jpeg': readJpegSize,
  'image/webp': readWebpSize,
  'image/gif': (view) => [view.getUint16(6, true), view.getUint16(8, true)],
  'image/bmp': (view) =>
    view.getUint32(14, true) === 12
      ? [view.getUint16(18, true), view.getUint16(20, true)]
      : [view.getInt32(18, true), Math.abs(view.getInt32(22, true))], // a negative height: rows from the top
};

/** Walks the segments up to the first frame header. */
function readJpegSize(view: DataView): Size {
  for (let at = 2; ;) {
    if (view.getUint8(at) !== 0xff) throw fail('invalidImage', `JPEG: byte ${at} should begin a segment.`);
    const marker = view.getUint8(at + 1);
    if (marker === 0xff)
      at += 1; // a fill byte
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8))
      at += 2; // without a length
    else if (isFrameHeader(marker)) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    else if (marker === 0xda || marker === 0xd9) throw fail('invalidImage', 'JPEG: the pixels come before their size.');
    else at += 2 + Math.max(2, view.getUint16(at + 2));
  }
}

/** SOF0 to SOF15; DHT, JPG and DAC lie between them. */
function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

function readWebpSize(view: DataView): Size {
  const chunk = String.fromCharCode(...[12, 13, 14, 15].map((at) => view.getUint8(at)));
  switch (chunk) {
    case 'VP8 ':
      return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    case 'VP8L': {
      const bits = view.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
    case 'VP8X':
      return [readUint24(view, 24) + 1, readUint24(view, 27) + 1];
    default:
      throw fail('invalidImage', `WebP: the first chunk is ${JSON.stringify(chunk)}; expected VP8, VP8L or VP8X.`);
  }
}

function readUint24(view: DataView, at: number): number {
  return view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
}
