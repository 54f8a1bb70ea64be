/** @file Pictures that requests name (UUID, data URI, base64, URL, file) → pixels, and pixels in the size of the result. Order and errors, no maths. */
import { downloadImage } from '../assets/image-download.js';
import type { HttpDeps } from '../assets/http.js';
import type { ImageStore } from '../assets/image-store.js';
import { DarkroomError, fail, throwIfAborted, toWireErrors, type WireError } from '../base/errors.js';
import type { DecodePicture } from '../image/decode.js';
import type { PictureMime } from '../image/image-header.js';
import type { RgbPicture } from '../image/pixels.js';
import { readPicture } from '../image/read-picture.js';
import { resize } from '../image/resize.js';
import {
  MAX_IMAGE_BYTES,
  parseImageReference,
  type ImageInput,
  type ImageReference,
} from '../request/image-reference.js';
import { codeName, documentationOf } from '../request/place.js';
import type { PreProcessorType } from '../request/preprocessors.js';
import type { ImageInferenceTask, Task } from '../request/task.js';

export interface PictureDeps extends Pick<HttpDeps, 'fetch'> {
  readonly decodePicture: DecodePicture;
  readonly images: ImageStore;
}

/** Which picture is meant, for messages. */
export interface PictureRequest {
  /** The parameter with its index: `controlNet[0].guideImage`. */
  readonly parameter: string;
  /** Says which page of the documentation has the parameter; `imageInference` when absent. */
  readonly taskType?: Task['taskType'];
  readonly signal?: AbortSignal | undefined;
}

/** A picture, and the file it came in. */
export interface LoadedPicture {
  readonly picture: RgbPicture;
  readonly file: { readonly bytes: Uint8Array<ArrayBuffer>; readonly mime: PictureMime };
  /** Where the reference was one. */
  readonly imageUUID?: string;
  /** What drew it, where it was kept here by a preprocessor. */
  readonly preProcessorType?: PreProcessorType;
}

/** What a task of `imageInference` looks at, in the order of its parameters. */
export interface TaskPictures {
  /** One for each entry of `controlNet`, as large as it came: see {@link fitGuide}. */
  readonly guides: readonly Pick<LoadedPicture, 'picture' | 'preProcessorType'>[];
}

/**
 * The pixels of a picture, without opacity, and the file.
 * @throws imageNotFound, downloadFailed, aborted; `invalid<Parameter>` for what is no picture, too large or damaged: all name `parameter`
 */
export async function loadPictureFile(
  deps: PictureDeps,
  input: ImageInput,
  request: PictureRequest,
): Promise<LoadedPicture> {
  try {
    const reference = parseImageReference(input);
    if (reference === undefined) throw fail('invalidImage', 'This is no reference to a picture.'); // the request's checks let none through
    const { data: bytes, preProcessorType } = await readBytes(deps, reference, request.signal);
    throwIfAborted(request.signal);
    const { picture, mime } = await readPicture(bytes, deps.decodePicture);
    throwIfAborted(request.signal);
    const identity = reference.kind === 'uuid' ? { imageUUID: reference.uuid } : {};
    return { picture, file: { bytes, mime }, ...identity, ...(preProcessorType && { preProcessorType }) };
  } catch (error) {
    throw aboutParameter(error, request);
  }
}

async function readBytes(
  { fetch, images }: PictureDeps,
  reference: ImageReference,
  signal: AbortSignal | undefined,
): Promise<{ readonly data: Uint8Array<ArrayBuffer>; readonly preProcessorType?: PreProcessorType | undefined }> {
  throwIfAborted(signal);
  switch (reference.kind) {
    case 'uuid': {
      const { data, info } = await images.get(reference.uuid);
      return { data, preProcessorType: info.preProcessorType };
    }
    case 'base64':
      return { data: decodeBase64(reference.base64) };
    case 'url':
      return {
        data: await downloadImage({ deps: { fetch }, url: reference.url, limitBytes: MAX_IMAGE_BYTES, signal }),
      };
    case 'blob':
      return { data: await readBlob(reference.blob) };
    default:
      return reference satisfies never;
  }
}

function decodeBase64(base64: string): Uint8Array<ArrayBuffer> {
  try {
    const binary = atob(base64);
    return Uint8Array.from({ length: binary.length }, (_, i) => binary.charCodeAt(i));
  } catch (cause) {
    throw fail('invalidImage', 'The text is not base64 to its end.', { cause });
  }
}

async function readBlob(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  if (blob.size > MAX_IMAGE_BYTES) {
    throw fail('invalidImage', `The file has ${blob.size} bytes; expected at most ${MAX_IMAGE_BYTES}.`);
  }
  const buffer = await blob.arrayBuffer().catch((cause: unknown) => {
    throw fail('invalidImage', 'The file cannot be read; it may have changed or gone since it was chosen.', { cause });
  });
  return new Uint8Array(buffer);
}

/** The same problems, said of a parameter: `invalidImage` of `controlNet[0].guideImage` is `invalidControlNetGuideImage`. */
function aboutParameter(error: unknown, { parameter: label, taskType }: PictureRequest): unknown {
  if (!(error instanceof DarkroomError) || error.code === 'aborted') return error;
  const parameter = label.replace(/\[\d+\]/g, '');
  const of = (problem: WireError): WireError => ({
    ...problem,
    code: problem.code === 'invalidImage' ? `invalid${codeName(parameter)}` : problem.code,
    message: `'${label}': ${problem.message}`,
    parameter,
    type: 'string',
    documentation: documentationOf(parameter, taskType),
  });
  const [first, ...more] = error.errors;
  return new DarkroomError([of(first), ...more.map(of)], { cause: error });
}

/** Every picture of a task. @throws the problems of all of them at once */
export async function loadTaskPictures(
  deps: PictureDeps,
  { controlNet }: ImageInferenceTask,
  signal: AbortSignal | undefined,
): Promise<TaskPictures> {
  const loads = controlNet.map(({ guideImage }, i) =>
    loadPictureFile(deps, guideImage, { parameter: `controlNet[${i}].guideImage`, signal }),
  );
  const settled = await Promise.allSettled(loads);
  throwIfAborted(signal);
  const problems = settled.flatMap((one) => (one.status === 'rejected' ? toWireErrors(one.reason) : []));
  const [first, ...more] = problems;
  if (first !== undefined) throw new DarkroomError([first, ...more]);
  return {
    guides: settled.flatMap((one) => {
      if (one.status === 'rejected') return [];
      const { picture, preProcessorType } = one.value;
      return [{ picture, ...(preProcessorType && { preProcessorType }) }];
    }),
  };
}

/** UUIDs of stored pictures that a task names. */
export function imageUUIDsOf(task: Task): readonly string[] {
  return inputsOf(task).flatMap((input) => {
    const reference = parseImageReference(input);
    return reference?.kind === 'uuid' ? [reference.uuid] : [];
  });
}

function inputsOf(task: Task): readonly (ImageInput | undefined)[] {
  switch (task.taskType) {
    case 'imageInference':
      return [...task.controlNet.map(({ guideImage }) => guideImage), task.seedImage, task.maskImage];
    case 'imageUpload':
      return [task.image];
    case 'controlNetPreprocess':
    case 'imageControlNetPreProcess':
      return [task.inputImage];
    default:
      return task satisfies never;
  }
}

/**
 * A guide in the size of the result, as diffusers prepares it (`VaeImageProcessor.resize`: Pillow's Lanczos filter, the shape not kept). A
 * guide of that size stays untouched.
 * Source: https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/image_processor.py
 */
export function fitGuide(picture: RgbPicture, width: number, height: number): RgbPicture {
  return resize(picture, width, height, 'lanczos');
}

/**
 * The size that `width` and `height`, as upper bounds, leave of a picture; one of them alone keeps the shape.
 * Source: https://runware.ai/docs/en/tools/controlnet-preprocess
 */
export function boundedSize(
  picture: { readonly width: number; readonly height: number },
  { width, height }: { readonly width?: number; readonly height?: number },
): { readonly width: number; readonly height: number } {
  if (width !== undefined && height !== undefined) {
    return { width: Math.min(width, picture.width), height: Math.min(height, picture.height) };
  }
  const scale = Math.min(1, (width ?? Infinity) / picture.width, (height ?? Infinity) / picture.height);
  const shrink = (side: number): number => Math.max(1, Math.round(side * scale));
  return { width: shrink(picture.width), height: shrink(picture.height) };
}
