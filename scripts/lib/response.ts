/** @file Pictures and errors → the wire form that `response.json` holds. */
import type { WireError } from '../../src/base/errors.js';
import type { WireGuide, WirePicture, WireUpload } from '../../src/pipeline/events.js';

type Timings = { readonly timings: Readonly<Record<string, number>> };

/** A result's facts, without its bytes. */
export type PictureFacts = Omit<WirePicture, 'bytes' | 'timings'> & Timings;
export type GuideFacts = Omit<WireGuide, 'bytes' | 'timings'> & Timings;
export type UploadFacts = Omit<WireUpload, 'bytes'>;
export type ResultFacts = PictureFacts | GuideFacts | UploadFacts;

/** A result, and where it was written. */
export interface SavedResult {
  readonly facts: ResultFacts;
  /** File name in the folder of the response. */
  readonly file: string;
  readonly base64: string;
}

/** The UUID under which the result's picture is kept. */
export function uuidOf(facts: ResultFacts): string {
  return 'guideImageUUID' in facts ? facts.guideImageUUID : facts.imageUUID;
}

/** `data` and `errors`, each only where there is something in it. */
export function toResponse(
  results: readonly SavedResult[],
  errors: readonly WireError[],
): Readonly<Record<string, unknown>> {
  return {
    ...(results.length > 0 || errors.length === 0 ? { data: results.map(toWire) } : {}),
    ...(errors.length > 0 ? { errors } : {}),
  };
}

function toWire(result: SavedResult): Readonly<Record<string, unknown>> {
  const { facts, file } = result;
  if (facts.taskType === 'imageUpload') {
    const { taskType, taskUUID, imageUUID, width, height, warnings } = facts;
    return { taskType, taskUUID, imageUUID, imageURL: file, width, height, warnings };
  }
  return facts.taskType === 'imageInference' ? pictureToWire(facts, result) : guideToWire(facts, result);
}

function pictureToWire(facts: PictureFacts, saved: SavedResult): Readonly<Record<string, unknown>> {
  const { taskType, taskUUID, imageUUID, seed, includeCost, width, height, backend, warnings, timings } = facts;
  const rounded = Number(seed);
  return {
    taskType,
    taskUUID,
    imageUUID,
    seed: rounded,
    ...(Number.isSafeInteger(rounded) ? {} : { seedString: seed.toString() }),
    ...fileField('image', facts, saved),
    ...(includeCost ? { cost: 0 } : {}),
    width,
    height,
    backend,
    warnings,
    timings,
  };
}

function guideToWire(facts: GuideFacts, saved: SavedResult): Readonly<Record<string, unknown>> {
  const { taskType, taskUUID, inputImageUUID, guideImageUUID, includeCost, width, height, warnings, timings } = facts;
  return {
    taskType,
    taskUUID,
    inputImageUUID,
    guideImageUUID,
    ...fileField('guideImage', facts, saved),
    ...(includeCost ? { cost: 0 } : {}),
    width,
    height,
    warnings,
    timings,
  };
}

function fileField(
  name: string,
  { outputType, mime }: Pick<WirePicture, 'outputType' | 'mime'>,
  { file, base64 }: SavedResult,
): Readonly<Record<string, string>> {
  switch (outputType) {
    case 'URL':
      return { [`${name}URL`]: file };
    case 'dataURI':
      return { [`${name}DataURI`]: `data:${mime};base64,${base64}` };
    case 'base64Data':
      return { [`${name}Base64Data`]: base64 };
    default:
      return outputType satisfies never;
  }
}

export function toJsonText(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? v.toString() : v), 2);
}
