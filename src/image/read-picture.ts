/** @file The bytes of a picture file → RGB pixels, with its kind and size checked before memory is taken. May import base and the files beside it. */
import { DarkroomError, fail } from '../base/errors.js';
import type { DecodePicture } from './decode.js';
import { readImageHeader, type PictureMime } from './image-header.js';
import type { RgbPicture } from './pixels.js';
import { decodePngRgb } from './png-rgb.js';

/** Larger sides or areas are refused (a phone's 50 megapixels pass). */
export const MAX_SIDE = 16_384;
export const MAX_PIXELS = 2 ** 26;

export interface ReadPicture {
  readonly picture: RgbPicture;
  readonly mime: PictureMime;
}

/**
 * Reads a PNG (to the bit, by code of our own), JPEG, WEBP, GIF or BMP file.
 * @param decode reads what is no PNG, and interlaced PNG.
 * @throws `invalidImage` for what is no picture, for pictures above 16384 pixels a side or 67 megapixels, and for damaged files.
 */
export async function readPicture(bytes: Uint8Array<ArrayBuffer>, decode: DecodePicture): Promise<ReadPicture> {
  const header = readImageHeader(bytes);
  if (header === undefined) {
    throw fail('invalidImage', `${bytes.length} bytes that are no picture: expected a PNG, JPG or WEBP file.`);
  }
  const { mime, width, height } = header;
  const fits = [width, height].every((side) => side >= 1 && side <= MAX_SIDE) && width * height <= MAX_PIXELS;
  if (!fits) {
    const expected = `sides from 1 to ${MAX_SIDE} and at most ${Math.floor(MAX_PIXELS / 1e6)} megapixels`;
    throw fail('invalidImage', `A picture of ${width}×${height}: expected ${expected}.`);
  }
  const picture = mime === 'image/png' ? await decodePngRgb(bytes) : undefined;
  return { picture: picture ?? (await decodeByPlatform(bytes, mime, decode)), mime };
}

async function decodeByPlatform(
  bytes: Uint8Array<ArrayBuffer>,
  mime: PictureMime,
  decode: DecodePicture,
): Promise<RgbPicture> {
  try {
    return await decode(bytes, mime);
  } catch (cause) {
    if (cause instanceof DarkroomError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw fail('invalidImage', `The ${mime} file is damaged, or of a form that is not read here: ${reason}`, { cause });
  }
}
