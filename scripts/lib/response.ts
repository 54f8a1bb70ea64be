/** @file Pictures and errors → the wire form that `response.json` holds. */
import type { WireError } from '../../src/base/errors.js';
import type { WirePicture } from '../../src/pipeline/events.js';

/** A picture's facts, without its bytes. */
export type PictureFacts = Omit<WirePicture, 'bytes' | 'timings'> & {
  readonly timings: Readonly<Record<string, number>>;
};

export interface SavedPicture extends PictureFacts {
  /** File name in the folder of the response. */
  readonly file: string;
  readonly base64: string;
}

/** `data` and `errors`, each only where there is something in it. */
export function toResponse(
  pictures: readonly SavedPicture[],
  errors: readonly WireError[],
): Readonly<Record<string, unknown>> {
  return {
    ...(pictures.length > 0 || errors.length === 0 ? { data: pictures.map(toWire) } : {}),
    ...(errors.length > 0 ? { errors } : {}),
  };
}

function toWire(picture: SavedPicture): Readonly<Record<string, unknown>> {
  const { taskType, taskUUID, imageUUID, seed, file, base64, mime, outputType, includeCost, width, height, backend } =
    picture;
  const image = {
    URL: { imageURL: file },
    dataURI: { imageDataURI: `data:${mime};base64,${base64}` },
    base64Data: { imageBase64Data: base64 },
  }[outputType];
  const rounded = Number(seed);
  return {
    taskType,
    taskUUID,
    imageUUID,
    seed: rounded,
    ...(Number.isSafeInteger(rounded) ? {} : { seedString: seed.toString() }),
    ...image,
    ...(includeCost ? { cost: 0 } : {}),
    width,
    height,
    backend,
    warnings: picture.warnings,
    timings: picture.timings,
  };
}

export function toJsonText(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? v.toString() : v), 2);
}
