/**
 * @file The tasks `imageUpload` and `controlNetPreprocess`: what passes and as what, what is refused and why. The limits are those of
 * the cloud's pages (https://runware.ai/docs/en/tools/controlnet-preprocess, …/utilities/image-upload), typed in here, not imported.
 */
import { describe, expect, test } from 'vitest';
import { DarkroomError, type WireError } from '../../../src/base/errors.js';
import { parseRequest } from '../../../src/request/facade.js';
import { parseTasks } from '../../../src/request/tasks.js';
import { PICTURE, TASK_UUID, type Patch, onlyTask } from './raw-task.js';

const upload = (patch: Patch = {}) => ({ taskType: 'imageUpload', taskUUID: TASK_UUID, image: PICTURE, ...patch });
const preprocess = (patch: Patch = {}) => ({
  ...{ taskType: 'controlNetPreprocess', taskUUID: TASK_UUID, inputImage: PICTURE },
  ...patch,
});
const problemsOf = (raw: unknown) => parseTasks([raw]).errors;

describe('imageUpload', () => {
  test('carries its picture and nothing else', () => {
    const task = { taskType: 'imageUpload', taskUUID: TASK_UUID, image: PICTURE, warnings: [] };
    expect(onlyTask(upload())).toEqual(task);
    expect(parseRequest({ taskType: 'imageUpload', image: PICTURE }, { newUUID: () => TASK_UUID, model: 'm' })).toEqual(
      task,
    );
  });

  test('warns of what belongs to other tasks', () => {
    expect(onlyTask(upload({ width: 512, evil: 1 })).warnings).toEqual([
      'Unknown parameter "evil" was ignored.',
      'Unknown parameter "width" was ignored.',
    ]);
  });

  test.each<[string, Patch, Partial<WireError>]>([
    ['no picture', { image: undefined }, { code: 'missingImage', parameter: 'image', type: 'string' }],
    ['a file name', { image: 'house.png' }, { code: 'invalidImage', parameter: 'image', type: 'string' }],
    ['a number', { image: 7 }, { code: 'invalidImage' }],
    ['a bad UUID', { taskUUID: 'x' }, { code: 'invalidTaskUUID' }],
  ])('refuses %s', (_name, patch, expected) => {
    const documentation = `https://runware.ai/docs/en/utilities/image-upload#request-${expected.code === 'invalidTaskUUID' ? 'taskuuid' : 'image'}`;
    expect(problemsOf(upload(patch))).toMatchObject([{ ...expected, documentation, taskType: 'imageUpload' }]);
  });
});

describe('controlNetPreprocess', () => {
  test.each(['controlNetPreprocess', 'imageControlNetPreProcess'] as const)(
    '%s has the documented defaults',
    (taskType) => {
      expect(onlyTask(preprocess({ taskType }))).toEqual({
        taskType,
        taskUUID: TASK_UUID,
        inputImage: PICTURE,
        preProcessorType: 'canny',
        lowThresholdCanny: 100,
        highThresholdCanny: 200,
        includeHandsAndFaceOpenPose: false,
        outputType: 'URL',
        outputFormat: 'JPG',
        outputQuality: 95,
        includeCost: false,
        warnings: [],
      });
    },
  );

  test.each<readonly [string, string]>([
    ...['canny', 'depth', 'mlsd', 'normalbae', 'openpose', 'tile', 'seg', 'lineart', 'lineart_anime', 'shuffle'].map(
      (name) => [name, name] as const,
    ),
    ...(['scribble', 'softedge'] as const).map((name) => [name, name] as const),
    ['Canny', 'canny'],
    ['depth_leres', 'depth'],
    ['depth_midas', 'depth'],
    ['depth_zoe', 'depth'],
    ['inpaint_global_harmonious', 'depth'],
    ['lineart_coarse', 'lineart'],
    ['lineart_realistic', 'lineart'],
    ['lineart_standard', 'lineart'],
    ['normal_bae', 'normalbae'],
    ['scribble_hed', 'scribble'],
    ['scribble_pidinet', 'scribble'],
    ['seg_ofade20k', 'seg'],
    ['seg_ofcoco', 'seg'],
    ['seg_ufade20k', 'seg'],
    ['softedge_hed', 'softedge'],
    ['softedge_hedsafe', 'softedge'],
    ['softedge_pidinet', 'softedge'],
    ['softedge_pidisafe', 'softedge'],
    ['tile_gaussian', 'tile'],
    ['openpose_face', 'openpose'],
    ['openpose_faceonly', 'openpose'],
    ['openpose_full', 'openpose'],
    ['openpose_hand', 'openpose'],
  ])('preProcessorType %s is %s', (preProcessorType, type) => {
    expect(onlyTask(preprocess({ preProcessorType }))).toMatchObject({ preProcessorType: type });
  });

  test.each<[string, Patch]>([
    ['sizes', { width: 512, height: 1 }],
    ['a width alone', { width: 333 }],
    ['thresholds at the ends', { lowThresholdCanny: 0, highThresholdCanny: 255 }],
    ['thresholds side by side', { lowThresholdCanny: 9, highThresholdCanny: 10 }],
    ['hands and face', { preProcessorType: 'openpose', includeHandsAndFaceOpenPose: true }],
    ['an output', { outputType: 'base64Data', outputFormat: 'PNG', outputQuality: 20, includeCost: true }],
  ])('accepts %s', (_name, patch) => {
    const task = onlyTask(preprocess(patch));
    expect(task).toMatchObject(patch);
    expect(task.warnings).toEqual([]);
  });

  test.each<[string, Patch, Partial<WireError>]>([
    ['no picture', { inputImage: undefined }, { code: 'missingInputImage', parameter: 'inputImage' }],
    ['no reference', { inputImage: 'a.png' }, { code: 'invalidInputImage', type: 'string' }],
    ['an unknown preprocessor', { preProcessorType: 'magic' }, { code: 'invalidPreProcessorType', type: 'string' }],
    ['a preprocessor that every object has', { preProcessorType: 'toString' }, { code: 'invalidPreProcessorType' }],
    ['width 0', { width: 0 }, { code: 'invalidWidth', min: 1 }],
    ['height 1.5', { height: 1.5 }, { code: 'invalidHeight', type: 'integer' }],
    ['low −1', { lowThresholdCanny: -1 }, { code: 'invalidLowThresholdCanny', min: 0, max: 255 }],
    ['high 256', { highThresholdCanny: 256 }, { code: 'invalidHighThresholdCanny', min: 0, max: 255 }],
    [
      'thresholds the wrong way round',
      { lowThresholdCanny: 90, highThresholdCanny: 80 },
      { code: 'invalidHighThresholdCanny', min: 91, max: 255 },
    ],
    ['equal thresholds', { lowThresholdCanny: 90, highThresholdCanny: 90 }, { code: 'invalidHighThresholdCanny' }],
    ['low above the default of high', { lowThresholdCanny: 200 }, { code: 'invalidHighThresholdCanny' }],
    [
      'hands as a word',
      { includeHandsAndFaceOpenPose: 'yes' },
      { code: 'invalidIncludeHandsAndFaceOpenPose', type: 'boolean' },
    ],
    ['an unknown format', { outputFormat: 'GIF' }, { code: 'invalidOutputFormat' }],
    [
      'a service of the cloud',
      { webhookURL: 'https://example.org' },
      { code: 'unsupportedParameter', parameter: 'webhookURL' },
    ],
    ['another', { deliveryMethod: 'async' }, { code: 'unsupportedParameter', parameter: 'deliveryMethod' }],
  ])('refuses %s', (_name, patch, expected) => {
    const errors = problemsOf(preprocess(patch));
    expect(errors).toMatchObject([{ ...expected, taskUUID: TASK_UUID }]);
    expect(errors[0]?.documentation).toMatch(
      /^https:\/\/runware\.ai\/docs\/en\/tools\/controlnet-preprocess#request-[a-z]+$/,
    );
  });

  test('all problems at once', () => {
    const codes = problemsOf(preprocess({ inputImage: 1, width: -1, ttl: 60 })).map(({ code }) => code);
    expect(codes).toEqual(['invalidInputImage', 'invalidWidth', 'unsupportedParameter']);
  });

  test('says which parameters another preprocessor hears', () => {
    const { warnings } = onlyTask(
      preprocess({
        preProcessorType: 'depth',
        lowThresholdCanny: 5,
        includeHandsAndFaceOpenPose: true,
        positivePrompt: 'x',
      }),
    );
    expect(warnings).toEqual([
      'Unknown parameter "positivePrompt" was ignored.',
      "'lowThresholdCanny' has no effect: it is for 'canny', not 'depth'.",
      "'includeHandsAndFaceOpenPose' has no effect: it is for 'openpose', not 'depth'.",
    ]);
  });

  test('as the SDK sends it: no UUID, empty fields, options of the call', () => {
    const request = {
      inputImage: PICTURE,
      taskType: 'controlNetPreprocess',
      width: 0,
      preProcessorType: null,
      retry: 2,
    };
    const task = parseRequest(request, { newUUID: () => TASK_UUID, model: 'm' });
    expect(task).toEqual(onlyTask(preprocess()));
    expect(() => parseRequest({ taskType: 'controlNetPreprocess' }, { newUUID: () => TASK_UUID })).toThrow(
      DarkroomError,
    );
  });
});

test('an imageInference task says that it does not hear what belongs to the others', () => {
  const raw = {
    taskType: 'imageInference',
    taskUUID: TASK_UUID,
    positivePrompt: 'a fox',
    model: 'm',
    width: 128,
    height: 128,
  };
  expect(onlyTask({ ...raw, inputImage: PICTURE }).warnings).toEqual(['Unknown parameter "inputImage" was ignored.']);
});
