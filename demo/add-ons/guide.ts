/** @file A picture → the guide of a ControlNet, kept under a UUID that requests can name. No view. */
import type { Darkroom, RunOptions } from '../../src/index.js';
import { NONE } from './preprocessors.js';

/** What the visitor chose: a file, or a picture that was made or uploaded here. */
export type GuidePicture =
  | { readonly kind: 'file'; readonly blob: Blob }
  | { readonly kind: 'kept'; readonly imageUUID: string; /** Where it is at hand. */ readonly blob?: Blob };

/** How the guide is drawn; values as they are typed, since the library checks them. */
export interface Drawing {
  /** A preprocessor's name, or {@link NONE}. */
  readonly type: string;
  readonly lowThresholdCanny?: number;
  readonly highThresholdCanny?: number;
  /** At most; the guide is drawn at the size it is used at. */
  readonly width?: number;
  readonly height?: number;
}

export interface Guide {
  readonly imageUUID: string;
  readonly blob: Blob;
  readonly warnings: readonly string[];
}

/** @throws what `controlNetPreprocess` and `imageUpload` throw, `imageNotFound` for a picture that is not kept any more */
export async function makeGuide(
  darkroom: Darkroom,
  picture: GuidePicture,
  drawing: Drawing,
  run: RunOptions,
): Promise<Guide> {
  const kept = await keep(darkroom, picture, run);
  const { type, ...sizes } = drawing;
  if (type === NONE) return kept;
  const guide = await darkroom.controlNetPreprocess(
    { inputImage: kept.imageUUID, preProcessorType: type, ...sizes, outputFormat: 'PNG' },
    run,
  );
  if (guide.guideImageURL !== undefined) darkroom.release(guide.guideImageURL);
  return { imageUUID: guide.guideImageUUID, blob: guide.blob, warnings: [...kept.warnings, ...guide.warnings] };
}

/** Pictures make room for newer ones: one that is gone is uploaded again where its file is at hand. */
async function keep(darkroom: Darkroom, picture: GuidePicture, run: RunOptions): Promise<Guide> {
  if (picture.kind === 'file') return upload(darkroom, picture.blob, run);
  const { imageUUID, blob } = picture;
  const found = darkroom.images.read(imageUUID);
  if (blob === undefined) return { imageUUID, blob: await found, warnings: [] };
  const isThere = found.then(
    () => true,
    () => false, // other reasons than that it is gone stop the upload too, which tells them
  );
  return (await isThere) ? { imageUUID, blob, warnings: [] } : upload(darkroom, blob, run);
}

async function upload(darkroom: Darkroom, image: Blob, run: RunOptions): Promise<Guide> {
  const { imageUUID, imageURL, blob, warnings } = await darkroom.imageUpload({ image }, run);
  darkroom.release(imageURL); // views make their own URLs
  return { imageUUID, blob, warnings };
}
