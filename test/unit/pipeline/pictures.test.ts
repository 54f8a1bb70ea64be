/** @file Pictures that requests name: each way of naming one, what is said when there is none, and the sizes that come out. */
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { createMemoryDriver } from '../../../src/assets/image-drivers.js';
import { createImagePins } from '../../../src/assets/image-pins.js';
import { createImageStore } from '../../../src/assets/image-store.js';
import type { DarkroomError } from '../../../src/base/errors.js';
import type { DecodePicture } from '../../../src/image/decode.js';
import {
  boundedSize,
  fitGuide,
  imageUUIDsOf,
  loadPictureFile,
  loadTaskPictures,
  type PictureDeps,
} from '../../../src/pipeline/pictures.js';
import { resize } from '../../../src/image/resize.js';
import { MAX_IMAGE_BYTES, type ImageInput } from '../../../src/request/image-reference.js';
import { accepted, onlyTask } from '../request/raw-task.js';
import type { ImageInferenceTask } from '../../../src/request/task.js';

const UUID = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';
const PARAMETER = { parameter: 'controlNet[1].guideImage' };

const raw = Uint8Array.from({ length: 6 * 5 * 3 }, (_, i) => (i * 53) % 256);
const png = new Uint8Array(
  await sharp(raw, { raw: { width: 6, height: 5, channels: 3 } })
    .png()
    .toBuffer(),
);
const webp = new Uint8Array(
  await sharp(raw, { raw: { width: 6, height: 5, channels: 3 } })
    .webp({ lossless: true })
    .toBuffer(),
);
const base64 = Buffer.from(png).toString('base64');

const decodePicture: DecodePicture = async (bytes) => {
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, rgb: new Uint8Array(data) };
};

function depsWith(
  answer: (url: URL, signal: AbortSignal | null | undefined) => Promise<Response> | Response,
): PictureDeps {
  return {
    fetch: async (input, init) => answer(new URL(input instanceof Request ? input.url : input), init?.signal),
    decodePicture,
    images: createImageStore({
      driver: createMemoryDriver(),
      pins: createImagePins(undefined),
      limitBytes: () => Promise.resolve(1e9),
      now: () => 0,
    }),
  };
}

const offline = depsWith(() => Promise.reject(new TypeError('Failed to fetch')));
const refusal = (
  deps: PictureDeps,
  input: ImageInput,
  more: { readonly signal?: AbortSignal } = {},
): Promise<DarkroomError> =>
  loadPictureFile(deps, input, { ...PARAMETER, ...more }).then(
    () => Promise.reject(new Error('was accepted')),
    (error: DarkroomError) => error,
  );

describe('loadPictureFile', () => {
  it.each<[string, ImageInput]>([
    ['a data URI', `data:image/png;base64,${base64}`],
    ['a data URI that lies about its type', `data:image/jpeg;base64,${base64}`],
    ['bare base64', base64],
    ['base64 in lines', base64.replace(/.{20}/g, '$&\n')],
    ['a file', new Blob([png])],
    ['a file of another format', new Blob([webp])],
  ])('reads %s', async (_name, input) => {
    const { picture } = await loadPictureFile(offline, input, PARAMETER);
    expect([picture.width, picture.height, Buffer.compare(picture.rgb, raw)]).toEqual([6, 5, 0]);
  });

  it('reads an address, and a kept picture by its UUID in any capitals', async () => {
    const deps = depsWith((url) => new Response(url.pathname === '/a.png' ? png : null));
    expect((await loadPictureFile(deps, 'https://example.org/a.png', PARAMETER)).picture.rgb).toEqual(raw);
    await deps.images.put({ imageUUID: UUID, mime: 'image/png', width: 6, height: 5 }, png);
    expect((await loadPictureFile(deps, UUID.toUpperCase(), PARAMETER)).picture.rgb).toEqual(raw);
  });

  it('names the parameter in every error, and tells what is wrong', async () => {
    const location = { parameter: 'controlNet.guideImage', type: 'string' };
    expect((await refusal(offline, UUID)).errors).toMatchObject([{ ...location, code: 'imageNotFound' }]);
    const text = new Blob(['<html>no such picture</html>']);
    expect((await refusal(offline, text)).errors).toMatchObject([
      {
        ...location,
        code: 'invalidControlNetGuideImage',
        message: "'controlNet[1].guideImage': 28 bytes that are no picture: expected a PNG, JPG or WEBP file.",
        documentation: 'https://runware.ai/docs/en/image-inference/api-reference#request-controlnet-guideimage',
      },
    ]);
    const upload = loadPictureFile(offline, text, { parameter: 'inputImage', taskType: 'controlNetPreprocess' });
    await expect(upload).rejects.toMatchObject({
      code: 'invalidInputImage',
      error: { documentation: 'https://runware.ai/docs/en/tools/controlnet-preprocess#request-inputimage' },
    });
  });

  it.each<[string, ImageInput]>([
    ['a damaged file', new Blob([png.slice(0, 60)])],
    ['base64 that is none further on', `${'A'.repeat(300)}**`],
    ['a file that is too large', new Blob([new Uint8Array(MAX_IMAGE_BYTES + 1)])],
  ])('refuses %s', async (_name, input) => {
    expect(await refusal(offline, input)).toMatchObject({ code: 'invalidControlNetGuideImage' });
  });
});

describe('addresses', () => {
  const ADDRESS = 'https://user:secret@example.org/a.png?token=secret';

  it.each<[string, () => Promise<Response> | Response, RegExp]>([
    [
      'no connection, or a site that does not allow it',
      () => Promise.reject(new TypeError('Failed to fetch')),
      /Failed to fetch/,
    ],
    ['a picture that is not there', () => new Response('', { status: 404 }), /answered 404/],
    ['one that needs a login', () => new Response('', { status: 403 }), /answered 403/],
  ])('%s', async (_name, answer, message) => {
    const error = await refusal(depsWith(answer), ADDRESS);
    expect(error).toMatchObject({
      code: 'downloadFailed',
      error: { parameter: 'controlNet.guideImage', hint: expect.stringMatching('CORS') as string },
    });
    expect(error.message).toMatch(message);
    expect(JSON.stringify(error.errors)).not.toContain('secret');
  });

  it('an address of the page that was released says so', async () => {
    expect((await refusal(offline, 'blob:https://example.org/1')).message).toMatch(/released/);
  });

  it('more bytes than a picture may have, whether or not the server says it', async () => {
    const announced = depsWith(() => new Response(png, { headers: { 'content-length': String(MAX_IMAGE_BYTES + 1) } }));
    expect(await refusal(announced, 'https://example.org/a.png')).toMatchObject({
      code: 'invalidControlNetGuideImage',
    });
    let sent = 0;
    const endless = depsWith(
      () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              sent += 1 << 22;
              controller.enqueue(new Uint8Array(1 << 22));
            },
          }),
        ),
    );
    expect(await refusal(endless, 'https://example.org/a.png')).toMatchObject({ code: 'invalidControlNetGuideImage' });
    expect(sent).toBeLessThan(MAX_IMAGE_BYTES * 1.5);
  });

  it('stops when the task is aborted, before and in the middle', async () => {
    const job = new AbortController();
    const waiting = depsWith(
      (_url, signal) =>
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('stopped')))),
    );
    const stopped = refusal(waiting, 'https://example.org/a.png', { signal: job.signal });
    job.abort();
    expect(await stopped).toMatchObject({ code: 'aborted' });
    expect(await refusal(offline, base64, { signal: AbortSignal.abort() })).toMatchObject({ code: 'aborted' });
  });
});

describe('the pictures of a task', () => {
  const net = (guideImage: ImageInput): ImageInferenceTask['controlNet'][number] => ({
    ...{ model: 'm', weight: 1, controlMode: 'balanced' },
    guideImage,
  });
  const taskWith = (...guides: readonly ImageInput[]): ImageInferenceTask => ({
    ...accepted({}),
    controlNet: guides.map(net),
  });

  it('come in order', async () => {
    const other = new Uint8Array(
      await sharp(raw, { raw: { width: 5, height: 6, channels: 3 } })
        .png()
        .toBuffer(),
    );
    const { guides } = await loadTaskPictures(offline, taskWith(base64, new Blob([other])), undefined);
    expect(guides.map(({ picture: { width, height } }) => [width, height])).toEqual([
      [6, 5],
      [5, 6],
    ]);
    expect(await loadTaskPictures(offline, accepted({}), undefined)).toEqual({ guides: [] });
  });

  it('all their problems are told at once', async () => {
    const loading = loadTaskPictures(offline, taskWith(UUID, base64, new Blob(['x'])), undefined);
    await expect(loading).rejects.toMatchObject({
      errors: [
        { code: 'imageNotFound', message: expect.stringMatching(/^'controlNet\[0\]\.guideImage': /) as string },
        {
          code: 'invalidControlNetGuideImage',
          message: expect.stringMatching(/^'controlNet\[2\]\.guideImage': /) as string,
        },
      ],
    });
  });

  it('those that are kept are known by their UUIDs', () => {
    const seeded = { ...taskWith(UUID.toUpperCase(), base64), seedImage: UUID };
    expect(imageUUIDsOf(seeded)).toEqual([UUID, UUID]);
    expect(imageUUIDsOf(onlyTask({ taskType: 'imageUpload', taskUUID: UUID, image: UUID }))).toEqual([UUID]);
    expect(imageUUIDsOf(onlyTask({ taskType: 'controlNetPreprocess', taskUUID: UUID, inputImage: base64 }))).toEqual(
      [],
    );
  });
});

describe('sizes', () => {
  it('a guide takes the size of the result, by the filter that resize.test.ts checks, and stays as it is when it fits', () => {
    const picture = { width: 6, height: 5, rgb: raw };
    expect(fitGuide(picture, 6, 5)).toBe(picture);
    expect(fitGuide(picture, 12, 9)).toEqual(resize(picture, 12, 9, 'lanczos'));
  });

  it.each([
    [{}, [600, 400]],
    [{ width: 300 }, [300, 200]],
    [{ height: 100 }, [150, 100]],
    [{ width: 301 }, [301, 201]],
    [{ width: 900 }, [600, 400]],
    [{ width: 300, height: 300 }, [300, 300]],
    [{ width: 900, height: 100 }, [600, 100]],
    [{ width: 1 }, [1, 1]],
  ])('%o of 600×400 is %o', (bounds, expected) => {
    const { width, height } = boundedSize({ width: 600, height: 400 }, bounds);
    expect([width, height]).toEqual(expected);
  });
});
