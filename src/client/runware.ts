/**
 * @file The cloud's JavaScript SDK by its names (https://github.com/Runware/sdk-js), over a {@link Darkroom}: code written
 * for `new Runware({ apiKey })` makes its pictures on this machine: pictures, guides and uploads. May import base and the files beside it.
 */
import { fail } from '../base/errors.js';
import type { ControlNetPreprocessRequest, ImageInferenceRequest, ImageUploadRequest } from '../request/request.js';
import { createDarkroom } from './darkroom.js';
import { checkRequest, reading } from './given.js';
import { notify } from './job.js';
import type { Darkroom, DarkroomOptions, GuideResult, ImageResult, RunOptions, UploadResult } from './types.js';

/** What the SDK's constructor takes is accepted; `apiKey`, `url` and the like have no meaning here. */
export interface RunwareOptions extends DarkroomOptions {
  readonly apiKey?: string;
  readonly url?: string;
  readonly shouldReconnect?: boolean;
  readonly globalMaxRetries?: number;
  readonly timeoutDuration?: number;
}

/** The SDK's request: ours, and its own callback. */
export interface RunwareRequest extends ImageInferenceRequest {
  readonly customTaskUUID?: string;
  /** Called once for each picture; when the request fails, once with `undefined` and `{ error }`. */
  readonly onPartialImages?: (images: readonly ImageResult[] | undefined, failure?: unknown) => void;
}

/**
 * @example
 * const runware = new Runware({ apiKey: 'not needed' });
 * const [image] = await runware.requestImages({ positivePrompt: 'a red house', model: 'darkroom:1@1' });
 */
export class Runware {
  readonly #darkroom: Darkroom;

  constructor(options: RunwareOptions = {}) {
    this.#darkroom = createDarkroom(options);
  }

  static async initialize(options: RunwareOptions = {}): Promise<Runware> {
    const runware = new Runware(options);
    await runware.ensureConnection();
    return runware;
  }

  /** Starts the worker. */
  async ensureConnection(): Promise<void> {
    await this.#darkroom.device();
  }

  /** @throws `DarkroomError`, whose `error.code` and `error.message` read as in the SDK. */
  async imageInference(request: RunwareRequest, options: RunOptions = {}): Promise<readonly ImageResult[]> {
    const { onPartialImages, ...plain } = await withTaskUUID(request);
    const onPicture = (picture: ImageResult): void => {
      notify(options.onPicture, picture);
      notify((images: readonly ImageResult[]) => onPartialImages?.(images), [picture]);
    };
    try {
      return await this.#darkroom.imageInference(plain, { ...options, onPicture });
    } catch (error) {
      notify((failure: unknown) => onPartialImages?.(undefined, failure), error);
      throw error;
    }
  }

  requestImages(request: RunwareRequest, options?: RunOptions): Promise<readonly ImageResult[]> {
    return this.imageInference(request, options);
  }

  /** @throws `DarkroomError` as {@link Runware.imageInference} does */
  async controlNetPreprocess(
    request: ControlNetPreprocessRequest & { readonly customTaskUUID?: string },
    options?: RunOptions,
  ): Promise<GuideResult> {
    return this.#darkroom.controlNetPreprocess(await withTaskUUID(request), options);
  }

  controlNetPreProcess(
    request: ControlNetPreprocessRequest & { readonly customTaskUUID?: string },
    options?: RunOptions,
  ): Promise<GuideResult> {
    return this.controlNetPreprocess(request, options);
  }

  /** @throws `DarkroomError` as {@link Runware.imageInference} does */
  async imageUpload(
    request: ImageUploadRequest & { readonly customTaskUUID?: string },
    options?: RunOptions,
  ): Promise<UploadResult> {
    return this.#darkroom.imageUpload(await withTaskUUID(request), options);
  }

  upscale(): Promise<never> {
    return unsupported('imageUpscale');
  }
  removeBackground(): Promise<never> {
    return unsupported('imageBackgroundRemoval');
  }
  promptEnhance(): Promise<never> {
    return unsupported('promptEnhance');
  }
  caption(): Promise<never> {
    return unsupported('imageCaption');
  }

  /** Ends the worker and frees every `imageURL`. */
  disconnect(): Promise<void> {
    return this.#darkroom.dispose();
  }
}

/** The SDK's own name for a task's UUID goes before the usual one. @throws `invalidRequest` for what cannot be read */
function withTaskUUID<T extends object>(
  given: T & { readonly customTaskUUID?: string },
): Promise<Omit<T, 'customTaskUUID'> & { readonly taskUUID?: string }> {
  return reading(() => {
    checkRequest(given);
    const { customTaskUUID, ...request } = given;
    return customTaskUUID === undefined ? request : { ...request, taskUUID: customTaskUUID };
  });
}

function unsupported(taskType: string): Promise<never> {
  return Promise.reject(
    fail('unsupportedTaskType', `Darkroom makes pictures from prompts and guides for them; it does no ${taskType}.`, {
      taskType,
    }),
  );
}
