/** @file A picture → the file that a request's output parameters ask for. May import base, request types and the files beside it. */
import type { OutputChoice, OutputFormat } from '../request/task.js';
import type { EncodePicture } from './encode.js';
import type { RgbPicture } from './pixels.js';
import { encodePng } from './png.js';

/** The kinds of file that are written. */
export const OUTPUT_MIME = { PNG: 'image/png', JPG: 'image/jpeg', WEBP: 'image/webp' } as const satisfies Record<
  OutputFormat,
  string
>;

export type OutputMime = (typeof OUTPUT_MIME)[OutputFormat];

export interface EncodedPicture {
  readonly mime: OutputMime;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** @throws `unsupportedParameter` when the platform cannot write the format */
export async function encodeFile(
  picture: RgbPicture,
  { outputFormat, outputQuality }: Pick<OutputChoice, 'outputFormat' | 'outputQuality'>,
  encodePicture: EncodePicture,
): Promise<EncodedPicture> {
  const mime = OUTPUT_MIME[outputFormat];
  if (mime === 'image/png') return { mime, bytes: await encodePng(picture) };
  return { mime, bytes: await encodePicture(picture, { mime, quality: outputQuality }) };
}
