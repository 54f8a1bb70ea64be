/** @file A finished picture as it comes from the worker → the form the caller asked for; and who owns its URL. Imports types only. */
import type { ImageResult } from './types.js';
import type { WirePicture } from './wire.js';

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
  const { taskType, taskUUID, imageUUID, width, height, backend, warnings, timings, mime, bytes } = picture;
  const blob = new Blob([bytes], { type: mime });
  return {
    taskType,
    taskUUID,
    imageUUID,
    ...seedFields(picture.seed),
    ...imageField(picture, blob, urls),
    ...(picture.includeCost ? { cost: 0 } : {}),
    width,
    height,
    blob,
    backend,
    warnings,
    timings,
  };
}

function seedFields(seed: bigint): Pick<ImageResult, 'seed' | 'seedString'> {
  const rounded = Number(seed);
  return Number.isSafeInteger(rounded) ? { seed: rounded } : { seed: rounded, seedString: seed.toString() };
}

function imageField(
  { outputType, mime, bytes }: WirePicture,
  blob: Blob,
  urls: UrlLedger,
): Pick<ImageResult, 'imageURL' | 'imageDataURI' | 'imageBase64Data'> {
  switch (outputType) {
    case 'URL':
      return { imageURL: urls.create(blob) };
    case 'dataURI':
      return { imageDataURI: `data:${mime};base64,${toBase64(bytes)}` };
    case 'base64Data':
      return { imageBase64Data: toBase64(bytes) };
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
