/** @file Requests inside pictures: round trips, and texts that other tools wrote. */
import { describe, expect, it } from 'vitest';
import { parseInfotext, toInfotext } from '../../../src/image/infotext.js';
import { pngTexts, restoreRequest, type PictureParameters } from '../../../src/image/parameters.js';
import { encodePng } from '../../../src/image/png.js';
import { readPictureRequest } from '../../../src/image/restore.js';

const PICTURE: PictureParameters = {
  positivePrompt: 'a lighthouse, oil painting\nsecond line',
  negativePrompt: 'blurry: very, "soft"',
  model: 'civitai:4384@128713',
  width: 512,
  height: 768,
  steps: 25,
  CFGScale: 7.5,
  scheduler: 'DPM++ 2M Karras',
  seed: 1234n,
  clipSkip: 1,
  controlNet: [],
  lora: [],
  embeddings: [],
};

const REQUEST = {
  positivePrompt: PICTURE.positivePrompt,
  negativePrompt: PICTURE.negativePrompt,
  model: PICTURE.model,
  width: 512,
  height: 768,
  steps: 25,
  CFGScale: 7.5,
  scheduler: 'DPM++ 2M Karras',
  seed: 1234,
  clipSkip: 1,
};

describe('toInfotext', () => {
  it('writes the form that WebUI writes', () => {
    expect(toInfotext(PICTURE)).toBe(
      [
        'a lighthouse, oil painting',
        'second line',
        'Negative prompt: blurry: very, "soft"',
        'Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234, Size: 512x768, Model: "civitai:4384@128713", Clip skip: 2, Version: Darkroom',
      ].join('\n'),
    );
  });

  it('is read back to the same request', () => {
    expect(parseInfotext(toInfotext(PICTURE))).toEqual({ request: REQUEST, ignored: [] });
    const { controlNet, lora, embeddings, positivePrompt, model, width, height, steps, CFGScale, scheduler } = PICTURE;
    const asked = { positivePrompt, model, width, height, steps, CFGScale, scheduler };
    const text = toInfotext({ ...asked, controlNet, lora, embeddings, clipSkip: 0, seed: 2n ** 63n - 1n });
    expect(parseInfotext(text)).toEqual({ request: { ...asked, seed: '9223372036854775807' }, ignored: [] });
  });
});

describe('parseInfotext', () => {
  it('reads what WebUI 1.9 wrote, sampler and schedule apart', () => {
    // Written by WebUI v1.9.3 for an instruct-pix2pix picture; the negative prompt is shortened.
    const text =
      'make it look like a golden statue\nNegative prompt: Disfigured, cartoon, blurry\n' +
      'Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 8, Image CFG scale: 1.75, Seed: 3207543649, Size: 512x512, Model hash: ffd280ddcf, Model: instruct-pix2pix-00-22000, Denoising strength: 1, Version: v1.9.3';
    expect(parseInfotext(text)).toEqual({
      request: {
        positivePrompt: 'make it look like a golden statue',
        negativePrompt: 'Disfigured, cartoon, blurry',
        steps: 24,
        scheduler: 'DPM++ 2M Karras',
        CFGScale: 8,
        seed: 3207543649,
        width: 512,
        height: 512,
        model: 'instruct-pix2pix-00-22000',
      },
      ignored: ['Image CFG scale', 'Denoising strength'],
    });
  });

  it.each([
    ['Euler a', 'Automatic', 'Euler a', []],
    ['DPM++ 2M', 'SGM Uniform', 'DPM++ 2M Uniform', []],
    ['DPM++ 2M', 'Uniform', 'DPM++ 2M', []],
    ['DPM2 a', undefined, 'KDPM2AncestralDiscreteScheduler', []],
    ['Euler a', 'Karras', 'Euler a', ['Schedule type Karras']],
    ['DPM++ 2M', 'Align Your Steps', 'DPM++ 2M', ['Schedule type Align Your Steps']],
    ['DPM adaptive', undefined, 'DPM adaptive', []],
  ])('reads sampler %s with schedule %s as %s', (sampler, schedule, scheduler, ignored) => {
    const type = schedule === undefined ? '' : `, Schedule type: ${schedule}`;
    const restored = parseInfotext(`x\nSteps: 20, Sampler: ${sampler}${type}, CFG scale: 7, Seed: 1`);
    expect(restored?.request.scheduler).toBe(scheduler);
    expect(restored?.ignored).toEqual(ignored);
  });

  it('reads quoted values with commas and escaped quotes, and keeps them from being taken for fields', () => {
    const restored = parseInfotext(
      'p\n' +
        String.raw`Steps: 20, Seed: 7, Model: "a, \"b\", Size: 1x1", Size: 64x128, Lora hashes: "x: 1, Clip skip: 9"`,
    );
    expect(restored?.request).toMatchObject({ model: 'a, "b", Size: 1x1', width: 64, height: 128 });
    expect(restored?.request.clipSkip).toBeUndefined();
  });

  it('takes a line with fewer than three fields for prompt', () => {
    expect(parseInfotext('Steps: leading to a door, night')).toEqual({
      request: { positivePrompt: 'Steps: leading to a door, night' },
      ignored: [],
    });
  });

  it('finds nothing in nothing, and survives rubbish', () => {
    expect(parseInfotext(' \n ')).toBeUndefined();
    for (const text of [
      'Steps: 1, a: "unclosed, b: 2, c: 3',
      ':,:,:',
      'Steps:,Seed:,Size:,',
      `Steps: ${'x'.repeat(9)}, ,,: "`,
    ]) {
      expect(() => parseInfotext(text)).not.toThrow();
    }
  });

  it('takes time in proportion to the length', () => {
    const started = performance.now();
    parseInfotext(`p\nSteps: 1, ${'word '.repeat(400_000)}`);
    parseInfotext(`p\nSteps: 1, ${'a: b, '.repeat(300_000)}`);
    parseInfotext(`p\nSteps: 1, ${'"'.repeat(1_000_000)}`);
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});

describe('restoreRequest', () => {
  it('prefers the exact request and gives it back', () => {
    const texts = pngTexts({ ...PICTURE, lora: [{ model: 'civitai:1@2', weight: 0.5 }] });
    const expected = { ...REQUEST, lora: [{ model: 'civitai:1@2', weight: 0.5 }] };
    expect(restoreRequest({ ...texts, parameters: 'other' })).toEqual({ request: expected, ignored: [] });
  });

  it('gives back VAE, weights and refiner', () => {
    const extras = {
      vae: 'https://example.org/vae.safetensors',
      promptWeighting: 'sdEmbeds',
      refiner: { model: 'civitai:101055@128080', startStepPercentage: 80 },
    } as const;
    const { darkroom } = pngTexts({ ...PICTURE, ...extras });
    expect(restoreRequest({ darkroom })).toEqual({ request: { ...REQUEST, ...extras }, ignored: [] });
    const atStep = { model: 'my refiner', startStep: 12 };
    expect(restoreRequest(pngTexts({ ...PICTURE, refiner: atStep }))?.request.refiner).toEqual(atStep);
  });

  it('leaves out a refiner without a model and weights of another syntax, and says so', () => {
    const said = (fields: object): unknown => restoreRequest({ darkroom: JSON.stringify({ steps: 4, ...fields }) });
    expect(said({ refiner: { startStep: 3 }, promptWeighting: 'compel++' })).toEqual({
      request: { steps: 4 },
      ignored: ['promptWeighting', 'refiner'],
    });
    expect(said({ refiner: { model: 'r', startStep: '3', startStepPercentage: 5, evil: {} } })).toEqual({
      request: { steps: 4, refiner: { model: 'r', startStepPercentage: 5 } },
      ignored: [],
    });
    expect(said({ refiner: ['r'], promptWeighting: ['compel'] })).toMatchObject({
      ignored: ['promptWeighting', 'refiner'],
    });
  });

  it('keeps every digit of a large seed and leaves out guide images that were sent inline', () => {
    const guideImage = `data:image/png;base64,${'A'.repeat(5000)}`;
    const net = { model: 'm', guideImage, weight: 1, controlMode: 'balanced' as const };
    const { darkroom } = pngTexts({ ...PICTURE, seed: 2n ** 60n + 1n, controlNet: [net] });
    expect(darkroom.length).toBeLessThan(1000);
    expect(restoreRequest({ darkroom })).toMatchObject({
      request: { seed: '1152921504606846977' },
      ignored: ['controlNet'],
    });
  });

  it('gives back ControlNets whose guide has a name', () => {
    const named = {
      model: 'civitai:38784@44716',
      guideImage: '6b1a2a8e-4f4b-4d6e-8a52-0f3f0f2a9f10',
      weight: 0.5,
      startStep: 2,
      endStepPercentage: 80,
      controlMode: 'prompt' as const,
      unionMode: 2,
    };
    const inline = { ...named, guideImage: `data:image/png;base64,${'A'.repeat(5000)}` };
    expect(restoreRequest(pngTexts({ ...PICTURE, controlNet: [named] }))).toEqual({
      request: { ...REQUEST, controlNet: [named] },
      ignored: [],
    });
    expect(restoreRequest(pngTexts({ ...PICTURE, controlNet: [inline, named] }))).toEqual({
      request: { ...REQUEST, controlNet: [named] },
      ignored: ['controlNet'],
    });
    const hostile = [
      { ...named, weight: '1', controlMode: 'all', unionMode: 'all', startStep: null, evil: 1 },
      { model: 'm' },
      7,
    ];
    expect(restoreRequest({ darkroom: JSON.stringify({ controlNet: hostile }) })).toEqual({
      request: { controlNet: [{ model: named.model, guideImage: named.guideImage, endStepPercentage: 80 }] },
      ignored: ['controlNet'],
    });
  });

  it('takes only fields of the right type from JSON that anyone may have written', () => {
    const darkroom = JSON.stringify({
      positivePrompt: 7,
      width: '512',
      height: 64,
      seed: '12; drop',
      lora: [{ model: 1 }, 3],
      evil: {},
    });
    expect(restoreRequest({ darkroom })?.request).toEqual({ height: 64 });
    expect(restoreRequest({ darkroom: '[1]', parameters: 'a cat' })?.request).toEqual({ positivePrompt: 'a cat' });
    expect(restoreRequest({ darkroom: 'not json' })).toBeUndefined();
    expect(restoreRequest({ Title: 'x' })).toBeUndefined();
  });
});

describe('readPictureRequest', () => {
  it('reads a picture of ours, a text, and nothing from other files', async () => {
    const png = await encodePng({ width: 1, height: 1, rgb: new Uint8Array(3) }, pngTexts(PICTURE));
    expect((await readPictureRequest(new Blob([png])))?.request).toEqual(REQUEST);
    expect((await readPictureRequest('a cat\nSteps: 3, Seed: 1, Size: 64x64'))?.request.steps).toBe(3);
    expect(await readPictureRequest(new Blob(['GIF89a']))).toBeUndefined();
    await expect(readPictureRequest(new Blob([png.subarray(0, png.length - 3)]))).rejects.toMatchObject({
      code: 'invalidImage',
    });
  });
});
