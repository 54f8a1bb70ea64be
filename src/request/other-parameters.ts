/**
 * @file The tables of parameters of the tasks that make no picture from a prompt: `imageUpload` and `controlNetPreprocess`. Data only.
 * Sources: https://runware.ai/docs/en/utilities/image-upload, https://runware.ai/docs/en/tools/controlnet-preprocess.
 */
import { flag, integer, integerFrom, oneOf, picture, reference, resolved } from './checkers.js';
import { PREPROCESSOR_TYPES, resolvePreprocessor } from './preprocessors.js';
import { OUTPUT_PARAMETERS } from './parameters.js';
import { defaulted, required } from './rules.js';

/** The largest side of a picture that is read. */
const side = integer({ min: 1, max: 16_384 });
const threshold = integer({ min: 0, max: 255 });

export const UPLOAD_PARAMETERS = {
  image: required(picture()),
} as const;

/** What a checked `controlNetPreprocess` task carries. */
export const PREPROCESS_PARAMETERS = {
  inputImage: required(picture()),
  preProcessorType: defaulted(
    resolved(
      PREPROCESSOR_TYPES,
      `one of ${PREPROCESSOR_TYPES.map((type) => `'${type}'`).join(', ')}`,
      resolvePreprocessor,
    ),
    'canny',
  ),
  width: side,
  height: side,
  lowThresholdCanny: defaulted(threshold, 100),
  highThresholdCanny: defaulted(threshold, 200),
  includeHandsAndFaceOpenPose: defaulted(flag(), false),
  ...OUTPUT_PARAMETERS,
} as const;

/** Services of the cloud, which are refused as in `imageInference` (see `support.ts`). */
export const PREPROCESS_CHECKED = {
  uploadEndpoint: reference('a URL'),
  webhookURL: reference('a URL'),
  deliveryMethod: oneOf(['sync', 'async']),
  ttl: integerFrom(60),
} as const;
