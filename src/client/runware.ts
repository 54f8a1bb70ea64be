/**
 * @file The cloud's JavaScript SDK by its names (https://github.com/Runware/sdk-js), over a {@link Darkroom}: code written
 * for `new Runware({ apiKey })` makes its pictures on this machine. Pictures only. May import base and the files beside it.
 */
import { fail } from '../base/errors.js';
import type { ImageInferenceRequest } from '../request/request.js';
import { createDarkroom } from './darkroom.js';
import { notify } from './job.js';
import type { Darkroom, DarkroomOptions, ImageResult, RunOptions } from './types.js';

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
    const { onPartialImages, customTaskUUID, ...rest } = request;
    const plain = customTaskUUID === undefined ? rest : { ...rest, taskUUID: customTaskUUID };
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

function unsupported(taskType: string): Promise<never> {
  return Promise.reject(
    fail('unsupportedTaskType', `Darkroom makes pictures from prompts; it does no ${taskType}.`, { taskType }),
  );
}
