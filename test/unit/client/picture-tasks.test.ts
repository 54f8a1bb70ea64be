/** @file Guides, uploads and kept pictures through the client, against a worker that speaks the real protocol. */
import { resolveObjectURL } from 'node:buffer';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Runware } from '../../../src/client/runware.js';
import type { PipelineWorker, WireGuide, WireUpload } from '../../../src/client/wire.js';
import { REQUEST, TASK, refusal, setUp } from './bench.js';
import { fakeWorker, makes, outcome, picture, type FakeRun } from './fake-worker.js';

const GUIDE: WireGuide = {
  taskType: 'controlNetPreprocess',
  taskUUID: '11111111-1111-4111-8111-111111111111',
  inputImageUUID: crypto.randomUUID(),
  guideImageUUID: crypto.randomUUID(),
  width: 64,
  height: 32,
  mime: 'image/png',
  bytes: Uint8Array.of(1, 2, 250),
  outputType: 'URL',
  includeCost: false,
  warnings: ['Is small.'],
  timings: { preprocess: 4 },
};
const UPLOAD: WireUpload = {
  taskType: 'imageUpload',
  taskUUID: GUIDE.taskUUID,
  imageUUID: crypto.randomUUID(),
  width: 3,
  height: 2,
  mime: 'image/webp',
  bytes: Uint8Array.of(7, 8),
  warnings: [],
};

const draws =
  (guide: WireGuide): FakeRun =>
  async (emit) => {
    await emit({ kind: 'guide', guide });
    const { taskUUID, guideImageUUID } = guide;
    return { ok: true, value: { pictures: [{ taskUUID, imageUUID: guideImageUUID }], errors: [] } };
  };
const keeps: FakeRun = async (emit) => {
  await emit({ kind: 'upload', upload: UPLOAD });
  const { taskUUID, imageUUID } = UPLOAD;
  return { ok: true, value: { pictures: [{ taskUUID, imageUUID }], errors: [] } };
};

describe('controlNetPreprocess', () => {
  it('sends one request and gives the guide in the cloud form, under both names', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(draws(GUIDE)));
    const inputImage = new Blob(['x'], { type: 'image/png' });
    const guide = await darkroom.controlNetPreprocess({ inputImage, preProcessorType: 'canny' });
    const { inputImageUUID, guideImageUUID } = GUIDE;
    expect(guide).toMatchObject({
      taskType: 'controlNetPreprocess',
      inputImageUUID,
      guideImageUUID,
      width: 64,
      height: 32,
    });
    expect(guide).toMatchObject({ warnings: ['Is small.'], timings: { preprocess: 4 } });
    expect(guide).not.toHaveProperty('cost');
    expect(resolveObjectURL(guide.guideImageURL ?? '')?.type).toBe('image/png');
    darkroom.release(guide.guideImageURL ?? '');
    expect(resolveObjectURL(guide.guideImageURL ?? '')).toBeUndefined();
    const [sent] = workers[0]?.tasks ?? [];
    expect(sent).toMatchObject({ taskType: 'controlNetPreprocess', preProcessorType: 'canny' });
    expect(sent).toHaveProperty('inputImage', expect.any(Blob));
    await darkroom.controlNetPreProcess({ taskType: 'imageControlNetPreProcess', inputImage: GUIDE.inputImageUUID });
    expect(workers[0]?.tasks[1]).toMatchObject({ taskType: 'imageControlNetPreProcess' });
  });

  it.each([
    ['dataURI', 'guideImageDataURI', 'data:image/png;base64,AQL6'],
    ['base64Data', 'guideImageBase64Data', 'AQL6'],
  ] as const)('gives %s as %s', async (outputType, field, value) => {
    const { darkroom } = setUp(() => fakeWorker(draws({ ...GUIDE, outputType, includeCost: true })));
    const guide = await darkroom.controlNetPreprocess({ inputImage: GUIDE.inputImageUUID, outputType });
    expect(guide).toMatchObject({ [field]: value, cost: 0 });
    expect(guide).not.toHaveProperty('guideImageURL');
  });

  it('rejects with every problem', async () => {
    const problem = { code: 'imageNotFound', message: 'No such picture.', parameter: 'inputImage' } as const;
    const { darkroom } = setUp(() => fakeWorker(() => Promise.resolve({ ok: false, errors: [problem] })));
    const error = await refusal(darkroom.controlNetPreprocess({ inputImage: GUIDE.inputImageUUID }));
    expect(error).toMatchObject({ code: 'imageNotFound', error: problem });
  });
});

describe('imageUpload', () => {
  it('gives the UUID and a URL of this page', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(keeps));
    const upload = await darkroom.imageUpload({ image: 'https://example.org/a.webp' });
    const { imageUUID, width, height } = UPLOAD;
    expect(upload).toMatchObject({ taskType: 'imageUpload', imageUUID, width, height, warnings: [] });
    expect(resolveObjectURL(upload.imageURL)?.type).toBe('image/webp');
    expect(workers[0]?.tasks[0]).toMatchObject({ taskType: 'imageUpload', image: 'https://example.org/a.webp' });
  });
});

describe('a request for another method', () => {
  it.each(['imageInference', 'controlNetPreprocess'] as const)('is refused by %s', async (method) => {
    const { darkroom } = setUp(() => fakeWorker(keeps));
    const request = Object.assign({ ...REQUEST, inputImage: 'x' }, { taskType: 'imageUpload' });
    // What a page in plain JavaScript may send.
    expect(await refusal(darkroom[method](request as never))).toMatchObject({ code: 'unsupportedTaskType' });
  });
});

it('run() gives results of every type, in order', async () => {
  const made = picture();
  const { darkroom } = setUp(() =>
    fakeWorker(async (emit, tasks, cancelled) => {
      await draws(GUIDE)(emit, tasks, cancelled);
      await keeps(emit, tasks, cancelled);
      await makes(made)(emit, tasks, cancelled);
      const uuids = [made.imageUUID, UPLOAD.imageUUID, GUIDE.guideImageUUID];
      const pictures = uuids.map((imageUUID) => ({ taskUUID: GUIDE.taskUUID, imageUUID }));
      return { ok: true, value: { pictures, errors: [] } };
    }),
  );
  const { data } = await darkroom.run([TASK, TASK, TASK]);
  expect(data?.map(({ taskType }) => taskType)).toEqual(['imageInference', 'imageUpload', 'controlNetPreprocess']);
});

describe('kept pictures', () => {
  it('that had to go are told of, and warnings that came late are added', async () => {
    const made = picture({ warnings: ['Runs on the CPU.'] });
    const evicted = { kind: 'evict', taskUUID: made.taskUUID, imageUUIDs: [UPLOAD.imageUUID] } as const;
    const { darkroom } = setUp(() =>
      fakeWorker(async (emit) => {
        await emit({ kind: 'picture', picture: made });
        await emit(evicted);
        const { pictures } = outcome(made).value;
        return {
          ok: true,
          value: { pictures: pictures.map((one) => ({ ...one, warnings: ['One had to go.'] })), errors: [] },
        };
      }),
    );
    const onEvict = vi.fn();
    const [result] = await darkroom.imageInference(REQUEST, { onEvict });
    expect(result?.warnings).toEqual(['Runs on the CPU.', 'One had to go.']);
    await vi.waitFor(() => expect(onEvict).toHaveBeenCalledWith(evicted));
  });

  it('can be listed, read, deleted and cleared', async () => {
    const info = {
      imageUUID: UPLOAD.imageUUID,
      mime: 'image/webp',
      width: 3,
      height: 2,
      bytes: 2,
      createdAt: 1,
      lastUsed: 2,
    };
    const asked: string[] = [];
    const overrides: Partial<PipelineWorker> = {
      listImages: () => Promise.resolve({ ok: true, value: [info] }),
      readImage: (imageUUID) =>
        Promise.resolve(
          imageUUID === info.imageUUID
            ? { ok: true, value: { info, data: Uint8Array.of(7, 8) } }
            : { ok: false, errors: [{ code: 'imageNotFound', message: 'No.' }] },
        ),
      deleteImage: (imageUUID) => Promise.resolve({ ok: true, value: imageUUID === info.imageUUID }),
      clearImages: () => {
        asked.push('clear');
        return Promise.resolve({ ok: true, value: undefined });
      },
    };
    const { darkroom } = setUp(() => fakeWorker(makes(picture()), overrides), { imageStoreBytes: 1e6 });
    expect(await darkroom.images.list()).toEqual([info]);
    const blob = await darkroom.images.read(info.imageUUID);
    expect([blob.type, [...new Uint8Array(await blob.arrayBuffer())]]).toEqual(['image/webp', [7, 8]]);
    expect((await refusal(darkroom.images.read('other'))).code).toBe('imageNotFound');
    expect([await darkroom.images.delete(info.imageUUID), await darkroom.images.delete('other')]).toEqual([
      true,
      false,
    ]);
    await darkroom.images.clear();
    expect(asked).toEqual(['clear']);
    await darkroom.dispose();
    expect((await refusal(darkroom.images.list())).code).toBe('disposed');
  });

  it('take as much as the page allows', async () => {
    const given = { imageStoreBytes: 1e6, memoryBudgetBytes: 8e9 };
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())), given);
    await darkroom.device();
    expect(workers[0]?.started).toMatchObject([given]);
  });
});

it('the SDK’s methods send its own name for the UUID', async () => {
  const worker = fakeWorker(draws(GUIDE));
  const runware = new Runware({ apiKey: 'key', worker: () => worker });
  const guide = await runware.controlNetPreProcess({ inputImage: UPLOAD.imageUUID, customTaskUUID: GUIDE.taskUUID });
  expect(guide.guideImageUUID).toBe(GUIDE.guideImageUUID);
  expect(worker.tasks).toMatchObject([{ taskUUID: GUIDE.taskUUID, inputImage: UPLOAD.imageUUID }]);
  expect(worker.tasks[0]).not.toHaveProperty('customTaskUUID');
  await runware.disconnect();
});

describe('pictures of the page', () => {
  afterEach(() => vi.unstubAllGlobals());

  /** Node has no canvas: as much of one as shows what is drawn, and when. */
  class FakeImageData {
    readonly data: Uint8ClampedArray<ArrayBuffer>;
    readonly width: number;
    readonly height: number;
    constructor(data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number) {
      this.data = data;
      this.width = width;
      this.height = height;
    }
  }
  class FakeCanvas {
    #pixels = new Uint8ClampedArray(0);
    getContext() {
      return { putImageData: ({ data }: FakeImageData) => (this.#pixels = data) };
    }
    convertToBlob() {
      return Promise.resolve(new Blob([this.#pixels.slice()], { type: 'image/png' }));
    }
  }

  it('become files as they are when the call is made, without opacity, wherever they are in the request', async () => {
    vi.stubGlobal('ImageData', FakeImageData);
    vi.stubGlobal('OffscreenCanvas', FakeCanvas);
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
    const pixels = new FakeImageData(Uint8ClampedArray.of(1, 2, 3, 4), 1, 1);
    const guideImage = pixels as unknown as ImageData; // Node has none
    const call = darkroom.imageInference({ ...REQUEST, controlNet: [{ model: 'm', guideImage }] });
    pixels.data.fill(9);
    await call;
    const [sent] = workers[0]?.tasks ?? [];
    const { controlNet } = sent as { readonly controlNet: readonly { readonly guideImage: Blob }[] };
    const bytes = await controlNet[0]?.guideImage.arrayBuffer();
    expect([...new Uint8Array(bytes ?? new ArrayBuffer(0))]).toEqual([1, 2, 3, 255]);
  });

  it('that cannot be read are a typed error, and the next call works', async () => {
    vi.stubGlobal('ImageData', FakeImageData);
    vi.stubGlobal(
      'OffscreenCanvas',
      class extends FakeCanvas {
        override convertToBlob(): Promise<never> {
          return Promise.reject(new Error('Tainted.'));
        }
      },
    );
    const { darkroom } = setUp(() => fakeWorker(makes(picture())));
    const guideImage = new FakeImageData(Uint8ClampedArray.of(1, 2, 3, 4), 1, 1) as unknown as ImageData; // as above
    const error = await refusal(darkroom.imageInference({ ...REQUEST, controlNet: [{ model: 'm', guideImage }] }));
    expect(error).toMatchObject({ code: 'invalidImage', message: expect.stringMatching('Tainted') as string });
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
  });
});
