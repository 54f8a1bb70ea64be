/** @file A finished picture as it comes from the worker → the form the caller asked for; and who owns its URL. Imports types only. */
import type { GuideResult, ImageResult, TaskResult, UploadResult } from './types.js';
import type { WireGuide, WirePicture, WireUpload } from './wire.js';

/** The blob URLs that this page owns. */
export interface UrlLedger {
  create(blob: Blob): string;
  /** Ignores URLs that are not (or no longer) in the ledger. */
  release(url: string): void;
  releaseAll(): void;
}

export function createUrlLedger(): UrlLedger {
  const urls = new Set<string>();
  const release = (url: string): void => {
    if (urls.delete(url)) URL.revokeObjectURL(url);
  };
  return {
    create(blob) {
      const url = URL.createObjectURL(blob);
      urls.add(url);
      return url;
    },
    release,
    releaseAll: () => [...urls].forEach(release),
  };
}

/** The picture in the cloud's form, with the field that its `outputType` asks for. */
export function toImageResult(picture: WirePicture, urls: UrlLedger): ImageResult {
  const { taskType, taskUUID, imageUUID, width, height, backend, warnings, timings } = picture;
  const { blob, url, dataURI, base64 } = deliver(picture, urls);
  return {
    taskType,
    taskUUID,
    imageUUID,
    ...seedFields(picture.seed),
    ...(url === undefined ? {} : { imageURL: url }),
    ...(dataURI === undefined ? {} : { imageDataURI: dataURI }),
    ...(base64 === undefined ? {} : { imageBase64Data: base64 }),
    ...(picture.includeCost ? { cost: 0 } : {}),
    width,
    height,
    blob,
    backend,
    warnings,
    timings,
  };
}

/** The guide in the cloud's form. */
export function toGuideResult(guide: WireGuide, urls: UrlLedger): GuideResult {
  const { taskType, taskUUID, inputImageUUID, guideImageUUID, width, height, warnings, timings } = guide;
  const { blob, url, dataURI, base64 } = deliver(guide, urls);
  return {
    taskType,
    taskUUID,
    inputImageUUID,
    guideImageUUID,
    ...(url === undefined ? {} : { guideImageURL: url }),
    ...(dataURI === undefined ? {} : { guideImageDataURI: dataURI }),
    ...(base64 === undefined ? {} : { guideImageBase64Data: base64 }),
    ...(guide.includeCost ? { cost: 0 } : {}),
    width,
    height,
    blob,
    warnings,
    timings,
  };
}

/** The upload in the cloud's form; its URL is one of this page. */
export function toUploadResult({ bytes, mime, ...upload }: WireUpload, urls: UrlLedger): UploadResult {
  const blob = new Blob([bytes], { type: mime });
  return { ...upload, imageURL: urls.create(blob), blob };
}

/** The URL that a result holds, if it does. */
export function urlOf(result: TaskResult): string | undefined {
  return 'guideImageUUID' in result ? result.guideImageURL : result.imageURL;
}

function seedFields(seed: bigint): Pick<ImageResult, 'seed' | 'seedString'> {
  const rounded = Number(seed);
  return Number.isSafeInteger(rounded) ? { seed: rounded } : { seed: rounded, seedString: seed.toString() };
}

/** A file, and the one other form that was asked for. */
interface Delivered {
  readonly blob: Blob;
  readonly url?: string;
  readonly dataURI?: string;
  readonly base64?: string;
}

function deliver(
  { outputType, mime, bytes }: Pick<WirePicture, 'outputType' | 'mime' | 'bytes'>,
  urls: UrlLedger,
): Delivered {
  const blob = new Blob([bytes], { type: mime });
  switch (outputType) {
    case 'URL':
      return { blob, url: urls.create(blob) };
    case 'dataURI':
      return { blob, dataURI: `data:${mime};base64,${toBase64(bytes)}` };
    case 'base64Data':
      return { blob, base64: toBase64(bytes) };
    default:
      return outputType satisfies never;
  }
}

/** In pieces, since `String.fromCharCode` takes only so many arguments. */
function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}
