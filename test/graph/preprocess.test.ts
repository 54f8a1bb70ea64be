/** @file Preprocessors with networks, from the picture to the guide, against controlnet_aux and transformers: tiny networks of random weights. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesTree, memoryTree } from '../../src/assets/file-tree.js';
import { fail } from '../../src/base/errors.js';
import type { RgbPicture } from '../../src/image/pixels.js';
import { fromGray } from '../../src/image/preprocess/gray.js';
import type { OpenTree } from '../../src/pipeline/library.js';
import { createPreprocess, type PreprocessProgress, type PreProcessorType } from '../../src/pipeline/preprocess/run.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { nodeFolder } from '../golden-runner/node.js';
import { GOLDEN, readGray, readPicture } from '../unit/image/preprocess/support.js';

const EDGES = 'preprocess-edges';
const DEPTH = 'preprocess-depth';
const POSE = 'preprocess-pose';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

/** Only these references are registered. */
const only =
  (trees: Readonly<Record<string, ReturnType<OpenTree>>>): OpenTree =>
  (reference) => {
    const tree = trees[reference];
    if (tree === undefined) throw fail('modelNotFound', `No model is registered as "${reference}".`);
    return tree;
  };

async function oneFile(path: string): Promise<ReturnType<OpenTree>> {
  const bytes = await nodeFolder(GOLDEN).read(path);
  return filesTree(path, [{ path: path.split('/').pop() ?? '', file: new Blob([bytes]) }]);
}

async function run(
  type: PreProcessorType,
  picture: RgbPicture,
  openTree: OpenTree,
  {
    handsAndFace = false,
    progress,
  }: { readonly handsAndFace?: boolean; readonly progress?: PreprocessProgress[] } = {},
): Promise<RgbPicture> {
  const preprocess = createPreprocess({ getRuntime: () => Promise.resolve(runtime), openTree });
  const request = { type, lowThreshold: 100, highThreshold: 200, handsAndFace };
  return preprocess(picture, request, { onProgress: (event) => progress?.push(event) });
}

/** Levels by which bytes differ → how many. */
function differences(got: RgbPicture, expected: RgbPicture): Readonly<Record<number, number>> {
  expect([got.width, got.height]).toEqual([expected.width, expected.height]);
  const counts: Record<number, number> = {};
  expected.rgb.forEach((value, i) => {
    const by = Math.abs(value - (got.rgb[i] ?? NaN));
    if (by !== 0) counts[by] = (counts[by] ?? 0) + 1;
  });
  return counts;
}

async function expected(folder: string, file: string): Promise<RgbPicture> {
  const { values, width, height } = await readGray(folder, file);
  return fromGray(values, width, height);
}

describe('edges and lines of controlnet_aux', () => {
  // float32 sums in another order, then fractions are dropped: one level where a value is at the border. Line drawings more often: ONNX
  // Runtime's instance norm loses digits where a channel's mean is large beside its deviation (up to 0.1 level here).
  it.each([
    ['softedge', 'darkroom:softedge@1', 'ControlNetHED', 'picture.png', 'softedge.png', 0.002],
    ['lineart', 'darkroom:lineart@1', 'sk_model', 'picture.png', 'lineart.png', 0.01],
    ['lineart_anime', 'darkroom:lineart-anime@1', 'netG', 'picture-256.png', 'lineart-anime.png', 0.01],
  ] as const)('%s', async (type, reference, file, picture, golden, share) => {
    const openTree = only({ [reference]: await oneFile(`${EDGES}/${file}.safetensors`) });
    const made = await run(type, await readPicture(EDGES, picture), openTree);
    const { 1: ones = 0, ...more } = differences(made, await expected(EDGES, golden));
    expect(more).toEqual({});
    expect(ones / made.rgb.length).toBeLessThan(share);
  });

  it('scribble, every pixel', async () => {
    const openTree = only({ 'darkroom:softedge@1': await oneFile(`${EDGES}/ControlNetHED.safetensors`) });
    const made = await run('scribble', await readPicture(EDGES, 'picture.png'), openTree);
    expect(differences(made, await expected(EDGES, 'scribble.png'))).toEqual({});
  });
});

describe('depth of Depth Anything', () => {
  it('is that of the pipeline of transformers, and reports bytes', async () => {
    const openTree = only({ 'darkroom:depth@1': folderTree(join(GOLDEN, DEPTH, 'model')) });
    const progress: PreprocessProgress[] = [];
    const made = await run('depth', await readPicture(DEPTH, 'picture.png'), openTree, { progress });
    const { 1: ones = 0, ...more } = differences(made, await expected(DEPTH, 'depth.png'));
    expect(more).toEqual({});
    expect(ones / made.rgb.length).toBeLessThan(0.002);
    const last = progress.filter(({ stage }) => stage === 'load').at(-1);
    expect(last?.bytes).toBe(last?.totalBytes);
    expect(progress.at(-1)).toEqual({ stage: 'run' });
  });

  it('is read from the Hub where nothing is registered', async () => {
    const asked: string[] = [];
    const openTree: OpenTree = (reference, wanted) => {
      asked.push(reference);
      return only({
        'huggingface:depth-anything/Depth-Anything-V2-Small-hf': folderTree(join(GOLDEN, DEPTH, 'model')),
      })(reference, wanted);
    };
    await run('depth', await readPicture(DEPTH, 'picture.png'), openTree);
    expect(asked).toEqual(['darkroom:depth@1', 'huggingface:depth-anything/Depth-Anything-V2-Small-hf']);
  });
});

describe('poses of ViTPose', () => {
  const openTree = only({ 'darkroom:openpose@1': folderTree(join(GOLDEN, POSE, 'model')) });

  it.each([
    ['the body', false, 'found-body.png'],
    ['with hands and face', true, 'found-whole.png'],
  ] as const)('%s, found by transformers and drawn by controlnet_aux', async (_, handsAndFace, file) => {
    const made = await run('openpose', await readPicture(POSE, 'picture.png'), openTree, { handsAndFace });
    const counts = differences(made, await readPicture(POSE, file));
    // Hands: OpenCV's caps of thick lines.
    const wrong = Object.values(counts).reduce((sum, count) => sum + count, 0);
    expect(wrong / made.rgb.length).toBeLessThan(handsAndFace ? 0.02 : 0.001);
  });

  it('says which network hands and face need when the registered one has none', async () => {
    const bytes = await nodeFolder(GOLDEN).read(`${POSE}/body-only.safetensors`);
    const config = await nodeFolder(GOLDEN).read(`${POSE}/model/config.json`);
    const bodies = memoryTree('bodies', { 'model.safetensors': bytes, 'config.json': config });
    const picture = await readPicture(POSE, 'picture.png');
    await expect(
      run('openpose', picture, only({ 'darkroom:openpose@1': bodies }), { handsAndFace: true }),
    ).rejects.toMatchObject({
      code: 'unsupportedPreProcessorType',
      message: expect.stringContaining('17 joints of bodies') as string,
      hint: expect.stringContaining('133 joints') as string,
    });
  });
});

describe('what cannot be done is said', () => {
  const picture: RgbPicture = { width: 64, height: 64, rgb: new Uint8Array(3 * 64 * 64).fill(90) };

  it.each(['mlsd', 'normalbae', 'seg'] as const)('%s is not in this version', async (type) => {
    await expect(run(type, picture, only({}))).rejects.toMatchObject({
      code: 'unsupportedPreProcessorType',
      message: expect.stringContaining('canny, depth, openpose') as string,
    });
  });

  it('how to register a network that has no public copy', async () => {
    await expect(run('softedge', picture, only({}))).rejects.toMatchObject({
      code: 'modelNotFound',
      message: expect.stringContaining('darkroom:softedge@1') as string,
      hint: expect.stringMatching(/ControlNetHED\.pth.*registerModel/s) as string,
    });
  });

  it('that a file is another network', async () => {
    const openTree = only({ 'darkroom:lineart@1': await oneFile(`${EDGES}/ControlNetHED.safetensors`) });
    await expect(run('lineart', picture, openTree)).rejects.toMatchObject({ code: 'invalidModelFile' });
  });

  it('that it was aborted, before anything is opened', async () => {
    const preprocess = createPreprocess({
      getRuntime: () => Promise.reject(new Error('asked for a device')),
      openTree: only({}),
    });
    const request = { type: 'depth', lowThreshold: 0, highThreshold: 0, handsAndFace: false } as const;
    await expect(preprocess(picture, request, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    });
  });
});

describe('pictures of any size', () => {
  it.each([
    [1, 1],
    [1, 70],
    [333, 47],
  ])('%d×%d pixels keep their size through arithmetic and networks', async (width, height) => {
    const picture: RgbPicture = {
      width,
      height,
      rgb: Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37) % 251),
    };
    const openTree = only({
      'darkroom:softedge@1': await oneFile(`${EDGES}/ControlNetHED.safetensors`),
      'darkroom:depth@1': folderTree(join(GOLDEN, DEPTH, 'model')),
      'darkroom:openpose@1': folderTree(join(GOLDEN, POSE, 'model')),
    });
    for (const type of ['canny', 'tile', 'blur', 'gray', 'shuffle', 'softedge', 'scribble', 'openpose'] as const) {
      const made = await run(type, picture, openTree);
      expect([type, made.width, made.height, made.rgb.length]).toEqual([type, width, height, 3 * width * height]);
    }
  });
});
