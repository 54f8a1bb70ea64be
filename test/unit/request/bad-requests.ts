/**
 * @file Requests that must be refused, with the errors that say why. The limits are those of the cloud's reference
 * (https://runware.ai/docs/en/image-inference/api-reference), typed in here, not imported.
 */
import type { WireError } from '../../../src/base/errors.js';
import { PICTURE, type Patch } from './raw-task.js';

export type BadRow = readonly [name: string, patch: Patch, ...errors: readonly Partial<WireError>[]];

const side = { type: 'integer', min: 128, max: 2048, multiplier: 64 };
const width = { ...side, code: 'invalidWidth', parameter: 'width' } as const;
const height = { ...side, code: 'invalidHeight', parameter: 'height' } as const;
const prompt = { code: 'invalidPositivePrompt', parameter: 'positivePrompt', type: 'string' } as const;
const negative = { code: 'invalidNegativePrompt', parameter: 'negativePrompt', min: 2, max: 3000 } as const;
const steps = { code: 'invalidSteps', parameter: 'steps', type: 'integer', min: 1, max: 100 } as const;
const cfg = { code: 'invalidCFGScale', parameter: 'CFGScale', type: 'float', min: 0, max: 50 } as const;
const clip = { code: 'invalidClipSkip', parameter: 'clipSkip', type: 'integer', min: 0, max: 2 } as const;
const results = { code: 'invalidNumberResults', parameter: 'numberResults', type: 'integer', min: 1, max: 20 } as const;
const quality = {
  code: 'invalidOutputQuality',
  parameter: 'outputQuality',
  type: 'integer',
  min: 20,
  max: 99,
} as const;
const format = {
  code: 'invalidOutputFormat',
  parameter: 'outputFormat',
  allowedValues: ['JPG', 'PNG', 'WEBP'],
} as const;
const outputType = { code: 'invalidOutputType', parameter: 'outputType', type: 'string' } as const;
const seed = { code: 'invalidSeed', parameter: 'seed', type: 'integer', min: 1, max: '9223372036854775807' } as const;
const model = { code: 'invalidModel', parameter: 'model', type: 'string' } as const;
const scheduler = { code: 'invalidScheduler', parameter: 'scheduler', type: 'string' } as const;
const uuid = { code: 'invalidTaskUUID', parameter: 'taskUUID', type: 'string' } as const;
const cost = { code: 'invalidIncludeCost', parameter: 'includeCost', allowedValues: [true, false] } as const;
const conflict = (parameter: string) => ({ code: 'conflictParameters', parameter }) as const;

const TASK_TYPES = ['imageInference', 'controlNetPreprocess', 'imageControlNetPreProcess', 'imageUpload'];

const IDENTITY: readonly BadRow[] = [
  ['taskType absent', { taskType: undefined }, { code: 'missingTaskType', allowedValues: TASK_TYPES }],
  ['taskType null', { taskType: null }, { code: 'invalidTaskType', parameter: 'taskType' }],
  ['taskType a number', { taskType: 7 }, { code: 'invalidTaskType', type: 'string' }],
  ['taskType empty', { taskType: '' }, { code: 'unsupportedTaskType', allowedValues: TASK_TYPES }],
  ['taskType in other capitals', { taskType: 'imageinference' }, { code: 'unsupportedTaskType' }],
  ...['imageMasking', 'controlnetpreprocess', 'imageUpscale', 'photoMaker', 'getResponse', 'promptEnhance'].map(
    (taskType): BadRow => [
      `taskType ${taskType}`,
      { taskType },
      { code: 'unsupportedTaskType', parameter: 'taskType', taskType, allowedValues: TASK_TYPES },
    ],
  ),
  ['taskUUID absent', { taskUUID: undefined }, { code: 'missingTaskUUID', parameter: 'taskUUID', type: 'string' }],
  ['taskUUID null', { taskUUID: null }, uuid],
  ['taskUUID empty', { taskUUID: '' }, uuid],
  ["taskUUID the cloud page's own example", { taskUUID: '9876543210-abcd-4def-9876-543210fedcba' }, uuid],
  ['taskUUID without dashes', { taskUUID: '3f2c8a9e9c5b4d1e8f7a0b1c2d3e4f50' }, uuid],
  ['taskUUID in braces', { taskUUID: '{3f2c8a9e-9c5b-4d1e-8f7a-0b1c2d3e4f50}' }, uuid],
  ['taskUUID version 9', { taskUUID: '3f2c8a9e-9c5b-9d1e-8f7a-0b1c2d3e4f50' }, uuid],
  ['taskUUID version 0', { taskUUID: '3f2c8a9e-9c5b-0d1e-8f7a-0b1c2d3e4f50' }, uuid],
  ['taskUUID of another variant', { taskUUID: '3f2c8a9e-9c5b-4d1e-cf7a-0b1c2d3e4f50' }, uuid],
  ['taskUUID nil', { taskUUID: '00000000-0000-0000-0000-000000000000' }, uuid],
  ['taskUUID with a line break', { taskUUID: '3f2c8a9e-9c5b-4d1e-8f7a-0b1c2d3e4f50\n' }, uuid],
];

const PROMPTS: readonly BadRow[] = [
  ['positivePrompt absent', { positivePrompt: undefined }, { code: 'missingPositivePrompt', min: 2, max: 3000 }],
  ['positivePrompt null', { positivePrompt: null }, prompt],
  ['positivePrompt empty', { positivePrompt: '' }, { ...prompt, min: 2, max: 3000 }],
  ['positivePrompt of 1', { positivePrompt: 'x' }, { ...prompt, min: 2, max: 3000 }],
  ['positivePrompt of one emoji (2 units)', { positivePrompt: '🦊' }, { ...prompt, min: 2, max: 3000 }],
  ['positivePrompt of 3001', { positivePrompt: 'x'.repeat(3001) }, { ...prompt, min: 2, max: 3000 }],
  ['positivePrompt of 3001 emoji', { positivePrompt: '🦊'.repeat(3001) }, prompt],
  ['positivePrompt of a million', { positivePrompt: 'x'.repeat(1_000_000) }, prompt],
  ['positivePrompt a number', { positivePrompt: 42 }, prompt],
  ['positivePrompt a list', { positivePrompt: ['a fox'] }, prompt],
  ['positivePrompt with a lone high surrogate', { positivePrompt: 'fox \ud83e' }, prompt],
  ['positivePrompt with a lone low surrogate', { positivePrompt: '\udd8a fox' }, prompt],
  ['negativePrompt empty', { negativePrompt: '' }, negative],
  ['negativePrompt of 1', { negativePrompt: 'x' }, negative],
  ['negativePrompt of 3001', { negativePrompt: 'x'.repeat(3001) }, negative],
  ['negativePrompt null', { negativePrompt: null }, negative],
  ['negativePrompt a boolean', { negativePrompt: false }, negative],
];

const MODEL: readonly BadRow[] = [
  ['model absent', { model: undefined }, { code: 'missingModel', parameter: 'model', type: 'string' }],
  ['model empty', { model: '' }, model],
  ['model a number', { model: 13 }, model],
  ['model null', { model: null }, model],
  ['model too long', { model: 'm'.repeat(4097) }, { ...model, max: 4096 }],
  ['vae empty', { vae: '' }, { code: 'invalidVae', parameter: 'vae' }],
  ['vae an object', { vae: {} }, { code: 'invalidVae', parameter: 'vae' }],
];

const SIZE: readonly BadRow[] = [
  ['width absent', { width: undefined }, { ...width, code: 'missingWidth' }],
  ['height absent', { height: undefined }, { ...height, code: 'missingHeight' }],
  ['width 127', { width: 127 }, width],
  ['width 64', { width: 64 }, width],
  ['width 129', { width: 129 }, width],
  ['width 2049', { width: 2049 }, width],
  ['width 2112', { width: 2112 }, width],
  ['width 520, a multiple of 8', { width: 520 }, width],
  ['width 512.5', { width: 512.5 }, width],
  ['width as a string', { width: '512' }, width],
  ['width as a bigint', { width: 512n }, width],
  ['width NaN', { width: NaN }, width],
  ['width Infinity', { width: Infinity }, width],
  ['width 0', { width: 0 }, width],
  ['width −512', { width: -512 }, width],
  ['width null', { width: null }, width],
  ['height 64', { height: 64 }, height],
  ['height 2112', { height: 2112 }, height],
  ['height 700', { height: 700 }, height],
  ['height a list', { height: [512] }, height],
  ['both sides', { width: 1, height: 2 }, width, height],
];

const SAMPLING: readonly BadRow[] = [
  ['steps 0', { steps: 0 }, steps],
  ['steps 101', { steps: 101 }, steps],
  ['steps 20.5', { steps: 20.5 }, steps],
  ['steps −1', { steps: -1 }, steps],
  ['steps as a string', { steps: '20' }, steps],
  ['steps null', { steps: null }, steps],
  ['CFGScale −0.1', { CFGScale: -0.1 }, cfg],
  ['CFGScale 50.1', { CFGScale: 50.1 }, cfg],
  ['CFGScale NaN', { CFGScale: NaN }, cfg],
  ['CFGScale −Infinity', { CFGScale: -Infinity }, cfg],
  ['CFGScale as a string', { CFGScale: '7' }, cfg],
  ['CFGScale a boolean', { CFGScale: true }, cfg],
  ['scheduler unknown', { scheduler: 'Quantum' }, scheduler],
  ['scheduler empty', { scheduler: '' }, scheduler],
  ['scheduler __proto__', { scheduler: '__proto__' }, scheduler],
  ['scheduler constructor', { scheduler: 'constructor' }, scheduler],
  ['scheduler a number', { scheduler: 22 }, scheduler],
  ['clipSkip −1', { clipSkip: -1 }, clip],
  ['clipSkip 3', { clipSkip: 3 }, clip],
  ['clipSkip 1.5', { clipSkip: 1.5 }, clip],
  ['clipSkip as a string', { clipSkip: '1' }, clip],
];

const SEED: readonly BadRow[] = [
  ['seed 0', { seed: 0 }, seed],
  ['seed −1', { seed: -1 }, seed],
  ['seed 1.5', { seed: 1.5 }, seed],
  ['seed NaN', { seed: NaN }, seed],
  ['seed Infinity', { seed: Infinity }, seed],
  ['seed the next double after 2^63', { seed: 9223372036854777856 }, seed],
  ['seed 1e300', { seed: 1e300 }, seed],
  ['seed 0n', { seed: 0n }, seed],
  ['seed −5n', { seed: -5n }, seed],
  ['seed bigint above the documented maximum', { seed: 9223372036854776001n }, seed],
  ['seed of a million bits', { seed: 1n << 1_000_000n }, seed],
  ['seed "0"', { seed: '0' }, seed],
  ['seed "-1"', { seed: '-1' }, seed],
  ['seed "+1"', { seed: '+1' }, seed],
  ['seed "1.0"', { seed: '1.0' }, seed],
  ['seed "1e5"', { seed: '1e5' }, seed],
  ['seed "0x10"', { seed: '0x10' }, seed],
  ['seed " 5"', { seed: ' 5' }, seed],
  ['seed empty', { seed: '' }, seed],
  ['seed in Arabic digits', { seed: '٣' }, seed],
  ['seed "9223372036854776001"', { seed: '9223372036854776001' }, seed],
  ['seed of 20 digits', { seed: '10000000000000000000' }, seed],
  ['seed of a million digits', { seed: '9'.repeat(1_000_000) }, seed],
  ['seed null', { seed: null }, seed],
  ['seed a list', { seed: [1] }, seed],
];

const OUTPUT: readonly BadRow[] = [
  ['numberResults 0', { numberResults: 0 }, results],
  ['numberResults 21', { numberResults: 21 }, results],
  ['numberResults 1.5', { numberResults: 1.5 }, results],
  ['outputType file', { outputType: 'file' }, { ...outputType, allowedValues: ['URL', 'dataURI', 'base64Data'] }],
  ['outputType url', { outputType: 'url' }, outputType],
  ['outputType a list', { outputType: ['URL', 'dataURI'] }, outputType],
  ['outputFormat GIF', { outputFormat: 'GIF' }, format],
  ['outputFormat jpeg', { outputFormat: 'jpeg' }, format],
  ['outputFormat null', { outputFormat: null }, format],
  ['outputQuality 19', { outputQuality: 19 }, quality],
  ['outputQuality 100', { outputQuality: 100 }, quality],
  ['outputQuality 95.5', { outputQuality: 95.5 }, quality],
  ['includeCost "true"', { includeCost: 'true' }, cost],
  ['includeCost 1', { includeCost: 1 }, cost],
  ['promptWeighting a1111', { promptWeighting: 'a1111' }, { code: 'invalidPromptWeighting' }],
  [
    'promptWeighting true',
    { promptWeighting: true },
    { code: 'invalidPromptWeighting', allowedValues: ['compel', 'sdEmbeds'] },
  ],
];

const refinerStep = {
  code: 'invalidRefinerStartStep',
  parameter: 'refiner.startStep',
  type: 'integer',
  min: 2,
} as const;
const refinerPercent = { code: 'invalidRefinerStartStepPercentage', min: 1, max: 99 } as const;
const refiner = (more: object): Patch => ({ refiner: { model: 'sdxl-refiner', ...more } });

const REFINER: readonly BadRow[] = [
  ['refiner a string', { refiner: 'sdxl-refiner' }, { code: 'invalidRefiner', parameter: 'refiner', type: 'object' }],
  ['refiner null', { refiner: null }, { code: 'invalidRefiner' }],
  ['refiner a list', { refiner: [{ model: 'm' }] }, { code: 'invalidRefiner' }],
  ['refiner without model', { refiner: {} }, { code: 'missingRefinerModel', parameter: 'refiner.model' }],
  ['refiner with an empty model', { refiner: { model: '' } }, { code: 'invalidRefinerModel' }],
  ['refiner at step 1', { steps: 40, ...refiner({ startStep: 1 }) }, { ...refinerStep, max: 40 }],
  ['refiner behind the last step', { steps: 40, ...refiner({ startStep: 41 }) }, { ...refinerStep, max: 40 }],
  ['refiner behind the default steps', refiner({ startStep: 21 }), { ...refinerStep, max: 20 }],
  ['refiner at step 2.5', refiner({ startStep: 2.5 }), refinerStep],
  ['refiner at 0 %', refiner({ startStepPercentage: 0 }), refinerPercent],
  ['refiner at 100 %', refiner({ startStepPercentage: 100 }), refinerPercent],
  ['refiner at 50.5 %', refiner({ startStepPercentage: 50.5 }), refinerPercent],
  [
    'refiner at both',
    refiner({ startStep: 10, startStepPercentage: 50 }),
    { ...conflict('refiner.startStepPercentage'), type: 'integer' },
  ],
  [
    'refiner at both, one of them out of range',
    refiner({ startStep: 1, startStepPercentage: 50 }),
    refinerStep,
    conflict('refiner.startStepPercentage'),
  ],
  ['refiner with invalid steps: only the steps', { steps: 1000, ...refiner({ startStep: 50 }) }, steps],
];

const net = (more: object, steps?: number): Patch => ({
  controlNet: [{ model: 'canny', guideImage: PICTURE, ...more }],
  steps,
});
const weight = { code: 'invalidControlNetWeight', parameter: 'controlNet.weight', min: 0, max: 1 } as const;
const start = { code: 'invalidControlNetStartStep', parameter: 'controlNet.startStep', min: 1 } as const;
const end = { code: 'invalidControlNetEndStep', parameter: 'controlNet.endStep' } as const;
const startPercent = { code: 'invalidControlNetStartStepPercentage', min: 0, max: 99 } as const;
const endPercent = { code: 'invalidControlNetEndStepPercentage', max: 100 } as const;

const CONTROLNET: readonly BadRow[] = [
  ['controlNet an object', { controlNet: {} }, { code: 'invalidControlNet', type: 'object[]' }],
  ['controlNet null', { controlNet: null }, { code: 'invalidControlNet', parameter: 'controlNet' }],
  ['controlNet of strings', { controlNet: ['canny'] }, { code: 'invalidControlNet', type: 'object' }],
  ['controlNet with a hole', { controlNet: new Array(1) }, { code: 'invalidControlNet' }],
  ['controlNet with 101', { controlNet: new Array(101).fill(null) }, { code: 'invalidControlNet', max: 100 }],
  [
    'controlNet empty entry',
    { controlNet: [{}] },
    { code: 'missingControlNetModel', parameter: 'controlNet.model' },
    { code: 'missingControlNetGuideImage', parameter: 'controlNet.guideImage' },
  ],
  ['guideImage empty', net({ guideImage: '' }), { code: 'invalidControlNetGuideImage' }],
  ['guideImage a file name', net({ guideImage: 'guide.png' }), { code: 'invalidControlNetGuideImage' }],
  ['guideImage a number', net({ guideImage: 1 }), { code: 'invalidControlNetGuideImage', type: 'string' }],
  ['weight −0.01', net({ weight: -0.01 }), weight],
  ['weight 1.01', net({ weight: 1.01 }), weight],
  ['weight NaN', net({ weight: NaN }), weight],
  ['weight null', net({ weight: null }), weight],
  ['startStep 0', net({ startStep: 0 }), { ...start, max: 20 }],
  ['startStep 21 of the default', net({ startStep: 21 }), { ...start, max: 20 }],
  ['startStep 31 of 30', net({ startStep: 31 }, 30), { ...start, max: 30 }],
  ['startStepPercentage −1', net({ startStepPercentage: -1 }), startPercent],
  ['startStepPercentage 100', net({ startStepPercentage: 100 }), startPercent],
  ['endStep 0', net({ endStep: 0 }), { ...end, max: 20 }],
  ['endStep 1 without a start', net({ endStep: 1 }), { ...end, min: 2, max: 20 }],
  ['endStep 31 of 30', net({ endStep: 31 }, 30), { ...end, max: 30 }],
  ['endStep = startStep', net({ startStep: 5, endStep: 5 }), { ...end, min: 6, max: 20 }],
  ['endStep < startStep', net({ startStep: 5, endStep: 4 }), { ...end, min: 6, max: 20 }],
  ['endStepPercentage 0', net({ endStepPercentage: 0 }), endPercent],
  ['endStepPercentage 101', net({ endStepPercentage: 101 }), endPercent],
  [
    'endStepPercentage = startStepPercentage',
    net({ startStepPercentage: 40, endStepPercentage: 40 }),
    { ...endPercent, min: 41 },
  ],
  ['both starts', net({ startStep: 5, startStepPercentage: 20 }), conflict('controlNet.startStepPercentage')],
  ['both ends', net({ endStep: 5, endStepPercentage: 20 }), conflict('controlNet.endStepPercentage')],
  [
    'both starts and both ends',
    net({ startStep: 1, startStepPercentage: 0, endStep: 9, endStepPercentage: 90 }),
    conflict('controlNet.startStepPercentage'),
    conflict('controlNet.endStepPercentage'),
  ],
  [
    'controlMode unknown',
    net({ controlMode: 'both' }),
    { code: 'invalidControlNetControlMode', allowedValues: ['prompt', 'controlnet', 'balanced'] },
  ],
  ['controlMode in capitals', net({ controlMode: 'Balanced' }), { code: 'invalidControlNetControlMode' }],
  [
    'two entries, each with its own problem',
    {
      controlNet: [
        { model: 'a', guideImage: PICTURE, weight: 2 },
        { model: '', guideImage: PICTURE },
      ],
    },
    weight,
    { code: 'invalidControlNetModel' },
  ],
];

const ADDONS: readonly BadRow[] = (['lora', 'embeddings'] as const).flatMap((name): readonly BadRow[] => {
  const code = name === 'lora' ? 'Lora' : 'Embeddings';
  const outside = {
    code: `invalid${code}Weight`,
    parameter: `${name}.weight`,
    type: 'float',
    min: -4,
    max: 4,
  } as const;
  return [
    [`${name} an object`, { [name]: { model: 'm' } }, { code: `invalid${code}`, parameter: name, type: 'object[]' }],
    [`${name} of strings`, { [name]: ['m'] }, { code: `invalid${code}` }],
    [`${name} without model`, { [name]: [{ weight: 1 }] }, { code: `missing${code}Model`, parameter: `${name}.model` }],
    [`${name} model a number`, { [name]: [{ model: 1 }] }, { code: `invalid${code}Model` }],
    [`${name} weight −4.01`, { [name]: [{ model: 'm', weight: -4.01 }] }, outside],
    [`${name} weight 4.01`, { [name]: [{ model: 'm', weight: 4.01 }] }, outside],
    [`${name} weight "1"`, { [name]: [{ model: 'm', weight: '1' }] }, outside],
    [`${name} three bad entries`, { [name]: [{ model: 'm', weight: 9 }, 0, null] }, outside, {}, {}],
  ];
});

const withSeed = (more: object): Patch => ({ seedImage: PICTURE, ...more });
const accelerator = (more: object, steps?: number): Patch => ({ acceleratorOptions: more, steps });

const OTHERS: readonly BadRow[] = [
  ['seedImage empty', { seedImage: '' }, { code: 'invalidSeedImage' }],
  ['maskImage a number', withSeed({ maskImage: 5 }), { code: 'invalidMaskImage' }],
  ['maskImage without seedImage', { maskImage: PICTURE }, { code: 'missingSeedImage', parameter: 'seedImage' }],
  ['outpaint without seedImage', { outpaint: { top: 64 } }, { code: 'missingSeedImage' }],
  ['maskMargin 31', { maskMargin: 31 }, { code: 'invalidMaskMargin', min: 32, max: 128 }],
  ['maskMargin 129', { maskMargin: 129 }, { code: 'invalidMaskMargin', min: 32, max: 128 }],
  ['strength −0.1', { strength: -0.1 }, { code: 'invalidStrength', min: 0, max: 1 }],
  ['strength 1.1', { strength: 1.1 }, { code: 'invalidStrength', min: 0, max: 1 }],
  ['outpaint 65', withSeed({ outpaint: { left: 65 } }), { code: 'invalidOutpaintLeft', min: 0, multiplier: 64 }],
  ['outpaint −64', withSeed({ outpaint: { top: -64 } }), { code: 'invalidOutpaintTop', parameter: 'outpaint.top' }],
  ['outpaint blur 33', withSeed({ outpaint: { blur: 33 } }), { code: 'invalidOutpaintBlur', min: 0, max: 32 }],
  ['referenceImages a string', { referenceImages: PICTURE }, { code: 'invalidReferenceImages', type: 'string[]' }],
  ['referenceImages of numbers', { referenceImages: [1] }, { code: 'invalidReferenceImages', type: 'string' }],
  [
    'ipAdapters weight 2',
    { ipAdapters: [{ model: 'm', guideImage: PICTURE, weight: 2 }] },
    { code: 'invalidIpAdaptersWeight' },
  ],
  ['ipAdapters without guide', { ipAdapters: [{ model: 'm' }] }, { code: 'missingIpAdaptersGuideImage' }],
  ['resolution 8k', { resolution: '8k' }, { code: 'invalidResolution', allowedValues: ['1k', '2k', '4k'] }],
  ['acceleration extreme', { acceleration: 'extreme' }, { code: 'invalidAcceleration' }],
  ['teaCache "yes"', accelerator({ teaCache: 'yes' }), { code: 'invalidAcceleratorOptionsTeaCache', type: 'boolean' }],
  [
    'teaCacheDistance 1.5',
    accelerator({ teaCacheDistance: 1.5 }),
    { code: 'invalidAcceleratorOptionsTeaCacheDistance' },
  ],
  [
    'deepCacheInterval 0',
    accelerator({ deepCacheInterval: 0 }),
    { code: 'invalidAcceleratorOptionsDeepCacheInterval', min: 1 },
  ],
  [
    'deepCacheBranchId −1',
    accelerator({ deepCacheBranchId: -1 }),
    { code: 'invalidAcceleratorOptionsDeepCacheBranchId', min: 0 },
  ],
  [
    'cacheStartStep 11 of 10',
    accelerator({ cacheStartStep: 11 }, 10),
    { code: 'invalidAcceleratorOptionsCacheStartStep', max: 10 },
  ],
  [
    'cacheEndStep = cacheStartStep',
    accelerator({ cacheStartStep: 4, cacheEndStep: 4 }),
    { code: 'invalidAcceleratorOptionsCacheEndStep', parameter: 'acceleratorOptions.cacheEndStep', min: 5, max: 20 },
  ],
  [
    'both cache starts',
    accelerator({ cacheStartStep: 4, cacheStartStepPercentage: 20 }),
    conflict('acceleratorOptions.cacheStartStepPercentage'),
  ],
  ['cacheMaxConsecutiveSteps 6', accelerator({ cacheMaxConsecutiveSteps: 6 }), { min: 1, max: 5 }],
  ['safety a boolean', { safety: true }, { code: 'invalidSafety' }],
  [
    'safety.mode slow',
    { safety: { mode: 'slow' } },
    { code: 'invalidSafetyMode', allowedValues: ['none', 'fast', 'full'] },
  ],
  ['safety.checkContent 1', { safety: { checkContent: 1 } }, { code: 'invalidSafetyCheckContent' }],
  ['checkNSFW "no"', { checkNSFW: 'no' }, { code: 'invalidCheckNSFW', type: 'boolean' }],
  ['layerDiffuse 1', { advancedFeatures: { layerDiffuse: 1 } }, { code: 'invalidAdvancedFeaturesLayerDiffuse' }],
  ['webhookURL empty', { webhookURL: '' }, { code: 'invalidWebhookURL', parameter: 'webhookURL' }],
  ['uploadEndpoint a number', { uploadEndpoint: 1 }, { code: 'invalidUploadEndpoint' }],
  [
    'deliveryMethod later',
    { deliveryMethod: 'later' },
    { code: 'invalidDeliveryMethod', allowedValues: ['sync', 'async'] },
  ],
  ['ttl 59', { ttl: 59 }, { code: 'invalidTtl', min: 60 }],
  ['ttl without a URL', { ttl: 60, outputType: 'dataURI' }, conflict('ttl')],
];

const SEVERAL: readonly BadRow[] = [
  ['three problems in table order', { seed: -1, width: 1, steps: 0 }, width, steps, seed],
  [
    'nothing but a type',
    { taskUUID: undefined, positivePrompt: undefined, model: undefined, width: undefined, height: undefined },
    { code: 'missingTaskUUID' },
    { code: 'missingPositivePrompt' },
    { code: 'missingModel' },
    { code: 'missingWidth' },
    { code: 'missingHeight' },
  ],
  ['a missing type hides nothing', { taskType: undefined, steps: 0 }, { code: 'missingTaskType' }, steps],
];

export const BAD_ROWS: readonly BadRow[] = [
  ...IDENTITY,
  ...PROMPTS,
  ...MODEL,
  ...SIZE,
  ...SAMPLING,
  ...SEED,
  ...OUTPUT,
  ...REFINER,
  ...CONTROLNET,
  ...ADDONS,
  ...OTHERS,
  ...SEVERAL,
];
