/**
 * @file Picture → guide picture of a ControlNet. Arithmetic is done at once; networks and their code are loaded when they are asked for.
 * May import everything but the client.
 */
import { fail, throwIfAborted } from '../../base/errors.js';
import type { RgbPicture } from '../../image/pixels.js';
import { blur, tile } from '../../image/preprocess/blur.js';
import { canny, type CannyOptions } from '../../image/preprocess/canny.js';
import { gray } from '../../image/preprocess/gray.js';
import { shuffle } from '../../image/preprocess/shuffle.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { OpenTree } from '../library.js';

/** The cloud's `preProcessorType`, and two of our own: `blur` and `gray`. */
export const PREPROCESSOR_TYPES = [
  'canny',
  'depth',
  'mlsd',
  'normalbae',
  'openpose',
  'tile',
  'seg',
  'lineart',
  'lineart_anime',
  'shuffle',
  'scribble',
  'softedge',
  'blur',
  'gray',
] as const;

export type PreProcessorType = (typeof PREPROCESSOR_TYPES)[number];

export interface PreprocessRequest {
  readonly type: PreProcessorType;
  /** Of `canny`, 0…255; default of the cloud 100. */
  readonly lowThreshold: number;
  /** Of `canny`, 0…255; default of the cloud 200. */
  readonly highThreshold: number;
  /** Of `openpose`. */
  readonly handsAndFace: boolean;
}

/** Where a preprocessor is: reading a network's weights (in bytes), or computing. */
export interface PreprocessProgress {
  readonly stage: 'load' | 'run';
  readonly bytes?: number;
  readonly totalBytes?: number;
}

export interface PreprocessContext {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PreprocessProgress) => void) | undefined;
}

export interface PreprocessDeps {
  /** Asked for only by those that run a network. */
  readonly getRuntime: () => Promise<Runtime>;
  readonly openTree: OpenTree;
}

export type Preprocess = (
  picture: RgbPicture,
  request: PreprocessRequest,
  context?: PreprocessContext,
) => Promise<RgbPicture>;

/** Those that run a network, and those that there is none for. */
const NEURAL = ['depth', 'openpose', 'softedge', 'scribble', 'lineart', 'lineart_anime'] as const;
const MISSING = ['mlsd', 'normalbae', 'seg'] as const;

export type NeuralType = (typeof NEURAL)[number];
type MissingType = (typeof MISSING)[number];

/** Made once; every call opens what it needs and frees it again. */
export function createPreprocess({ getRuntime, openTree }: PreprocessDeps): Preprocess {
  return async (picture, request, context = {}) => {
    throwIfAborted(context.signal);
    const { type, lowThreshold: low, highThreshold: high, handsAndFace } = request;
    if (isOneOf(NEURAL, type)) {
      const [{ runNeural }, runtime] = await Promise.all([import('./neural.js'), getRuntime()]);
      return runNeural(picture, { type, handsAndFace }, { ...context, runtime, openTree });
    }
    context.onProgress?.({ stage: 'run' });
    return compute(picture, type, { low, high });
  };
}

function isOneOf<T extends PreProcessorType>(list: readonly T[], type: PreProcessorType): type is T {
  return list.some((name) => name === type);
}

/** Without a network. @throws unsupportedPreProcessorType */
function compute(
  picture: RgbPicture,
  type: Exclude<PreProcessorType, NeuralType>,
  thresholds: CannyOptions,
): RgbPicture {
  switch (type) {
    case 'canny':
      return canny(picture, thresholds);
    case 'tile':
      return tile(picture);
    case 'blur':
      return blur(picture);
    case 'gray':
      return gray(picture);
    case 'shuffle':
      return shuffle(picture);
    case 'mlsd':
    case 'normalbae':
    case 'seg':
      throw unsupported(type);
    default:
      return type satisfies never;
  }
}

function unsupported(type: MissingType): Error {
  const works = PREPROCESSOR_TYPES.filter((name) => !isOneOf(MISSING, name));
  return fail(
    'unsupportedPreProcessorType',
    `The preprocessor "${type}" is not in this version; these are: ${works.join(', ')}.`,
    {
      parameter: 'preProcessorType',
      type: 'string',
      allowedValues: works,
    },
  );
}
