/** @file Uploads and guides through the engine and the command line: what comes back, what is kept, and what can name it afterwards. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import { decodePng } from '../../src/image/png.js';
import type { WireEvent, WireGuide, WirePicture, WireUpload } from '../../src/pipeline/events.js';

const ROOT = join(import.meta.dirname, '../..');
const GOLDEN = join(import.meta.dirname, '../golden');
const CANNY = join(GOLDEN, 'unit/opencv-canny');
const engine = createNodeEngine({ models: { tiny: join(GOLDEN, 'models/sd15-tiny') } });
afterAll(() => engine.dispose());

const uuid = (n: number): string => `6ba7b810-9dad-41d1-80b4-00c04fd430c${n}`;
const dataURI = async (path: string): Promise<string> =>
  `data:image/png;base64,${(await readFile(path)).toString('base64')}`;
const pixelsOf = async (file: Uint8Array): Promise<Buffer> =>
  sharp(file).toColourspace('srgb').removeAlpha().raw().toBuffer();

async function run(input: unknown, signal?: AbortSignal) {
  const events: WireEvent[] = [];
  const outcome = await engine.run(input, { onEvent: (event) => events.push(event), ...(signal ? { signal } : {}) });
  return {
    ...outcome,
    events,
    uploads: events.flatMap((e): WireUpload[] => (e.kind === 'upload' ? [e.upload] : [])),
    guides: events.flatMap((e): WireGuide[] => (e.kind === 'guide' ? [e.guide] : [])),
    made: events.flatMap((e): WirePicture[] => (e.kind === 'picture' ? [e.picture] : [])),
  };
}

const upload = (n: number, image: unknown) => ({ taskType: 'imageUpload', taskUUID: uuid(n), image });
const preprocess = (n: number, inputImage: unknown, more: object = {}) => ({
  ...{ taskType: 'controlNetPreprocess', taskUUID: uuid(n), inputImage, outputFormat: 'PNG' },
  ...more,
});

describe('a guide', () => {
  it('of an uploaded picture has OpenCV’s edges, and both pictures can be named afterwards', async () => {
    const { uploads, errors } = await run([upload(1, await dataURI(join(CANNY, 'photo.png')))]);
    expect(errors).toEqual([]);
    const [kept] = uploads;
    const { guides, pictures, events } = await run([preprocess(2, kept?.imageUUID)]);
    const [guide] = guides;
    expect(guide).toMatchObject({
      ...{ taskType: 'controlNetPreprocess', taskUUID: uuid(2), mime: 'image/png', outputType: 'URL', warnings: [] },
      inputImageUUID: kept?.imageUUID,
    });
    expect(pictures).toEqual([{ taskUUID: uuid(2), imageUUID: guide?.guideImageUUID }]);
    const golden = await pixelsOf(await readFile(join(CANNY, 'photo.100-200.png')));
    expect(Buffer.compare(await pixelsOf(guide?.bytes ?? new Uint8Array()), golden)).toBe(0);
    expect(events.flatMap((e) => (e.kind === 'progress' ? [e.stage] : []))).toEqual([
      'download',
      'preprocess',
      'encode',
    ]);
    const again = await run([upload(1, guide?.guideImageUUID)]);
    expect(again.uploads[0]).toMatchObject({ imageUUID: guide?.guideImageUUID, mime: 'image/png' });
  });

  it('keeps its input, is made smaller but never larger, and is kept without loss', async () => {
    const input = await dataURI(join(CANNY, 'photo.png'));
    const { width, height } = await sharp(await readFile(join(CANNY, 'photo.png'))).metadata();
    const sizes = [{ width: Math.floor(width / 2) }, { width: width * 2, height: height * 2 }];
    const sent = sizes.map((size, i) =>
      preprocess(i + 1, input, { ...size, outputFormat: 'JPG', taskType: 'imageControlNetPreProcess' }),
    );
    const { guides, errors } = await run(sent);
    expect(errors).toEqual([]);
    expect(guides.map((guide) => [guide.taskType, guide.mime, guide.width, guide.height])).toEqual([
      [
        'imageControlNetPreProcess',
        'image/jpeg',
        Math.floor(width / 2),
        Math.round((height * Math.floor(width / 2)) / width),
      ],
      ['imageControlNetPreProcess', 'image/jpeg', width, height],
    ]);
    const [, whole] = guides;
    const kept = await run([upload(1, whole?.inputImageUUID), upload(2, whole?.guideImageUUID)]);
    const golden = await pixelsOf(await readFile(join(CANNY, 'photo.100-200.png')));
    expect(kept.uploads.map(({ mime }) => mime)).toEqual(['image/png', 'image/png']);
    expect(Buffer.compare(await pixelsOf(kept.uploads[1]?.bytes ?? new Uint8Array()), golden)).toBe(0);
  });

  it('can be made of a picture that was made here', async () => {
    const request = { positivePrompt: 'a red fox', model: 'tiny', width: 128, height: 128, steps: 1, seed: 5 };
    const { made } = await run(request);
    const { guides, errors } = await run({
      taskType: 'controlNetPreprocess',
      inputImage: made[0]?.imageUUID,
      preProcessorType: 'tile_gaussian',
    });
    expect(errors).toEqual([]);
    expect(guides[0]).toMatchObject({
      inputImageUUID: made[0]?.imageUUID,
      width: 128,
      height: 128,
      mime: 'image/jpeg',
    });
  });
});

describe('what is wrong', () => {
  it('is said of the task and its parameter, and the other tasks run', async () => {
    const good = await dataURI(join(CANNY, 'photo.png'));
    const { errors, uploads } = await run([
      upload(1, uuid(9)),
      preprocess(2, `data:image/png;base64,${'A'.repeat(80)}`),
      upload(3, good),
    ]);
    expect(errors.map(({ code, parameter, taskUUID, taskType }) => [code, parameter, taskUUID, taskType])).toEqual([
      ['imageNotFound', 'image', uuid(1), 'imageUpload'],
      ['invalidInputImage', 'inputImage', uuid(2), 'controlNetPreprocess'],
    ]);
    expect(uploads.map(({ taskUUID }) => taskUUID)).toEqual([uuid(3)]);
  });

  it('stops when it is aborted', async () => {
    const { errors, events } = await run([upload(1, await dataURI(join(CANNY, 'photo.png')))], AbortSignal.abort());
    expect(errors.map(({ code }) => code)).toEqual(['aborted']);
    expect(events).toEqual([]);
  });

  it('only a picture from a prompt can be asked whether it fits', async () => {
    await expect(engine.willItFit([upload(1, 'https://example.org/a.png')])).rejects.toMatchObject({
      code: 'unsupportedTaskType',
    });
  });
});

describe('npm run generate', () => {
  it('runs these tasks from a file, pictures named by paths beside it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'darkroom-guide-'));
    try {
      await cp(join(CANNY, 'photo.png'), join(folder, 'photo.png'));
      const tasks = [
        preprocess(1, 'photo.png', { includeCost: true }),
        upload(2, './photo.png'),
        upload(3, 'nothing.png'),
      ];
      await writeFile(join(folder, 'tasks.json'), JSON.stringify(tasks));
      const args = ['--import', 'tsx', 'scripts/generate.ts', '--request', join(folder, 'tasks.json'), '--out', folder];
      const failure = await promisify(execFile)(process.execPath, args, { cwd: ROOT }).then(
        () => undefined,
        (error: unknown) => error as { readonly code: number },
      );
      expect(failure?.code).toBe(1);
      const { data, errors } = JSON.parse(await readFile(join(folder, 'response.json'), 'utf8')) as {
        data: readonly [{ guideImageURL: string; guideImageUUID: string }, { imageURL: string; imageUUID: string }];
        errors: readonly object[];
      };
      expect(errors).toMatchObject([{ code: 'invalidImage', parameter: 'image', taskUUID: uuid(3) }]);
      expect(data).toMatchObject([
        { taskType: 'controlNetPreprocess', cost: 0, guideImageURL: `${data[0].guideImageUUID}.png` },
        { taskType: 'imageUpload', imageURL: `${data[1].imageUUID}.png` },
      ]);
      const golden = await decodePng(new Uint8Array(await readFile(join(CANNY, 'photo.100-200.png'))));
      const guide = await pixelsOf(await readFile(join(folder, data[0].guideImageURL)));
      expect(guide.filter((_, i) => i % 3 === 0).length).toBe(golden.width * golden.height);
      expect(Buffer.compare(guide, await pixelsOf(await readFile(join(CANNY, 'photo.100-200.png'))))).toBe(0);
      expect(await readFile(join(folder, data[1].imageURL))).toEqual(await readFile(join(folder, 'photo.png')));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
