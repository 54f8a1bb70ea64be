/** @file Preprocessors without a network, and what networks read through, against Pillow, OpenCV, torch and controlnet_aux. */
import { describe, expect, it } from 'vitest';
import { blur, tile } from '../../../../src/image/preprocess/blur.js';
import { gray } from '../../../../src/image/preprocess/gray.js';
import { resample, type Filter } from '../../../../src/image/preprocess/resample.js';
import { resize } from '../../../../src/image/resize.js';
import { scribble } from '../../../../src/image/preprocess/scribble.js';
import { shuffle } from '../../../../src/image/preprocess/shuffle.js';
import { fromGray } from '../../../../src/image/preprocess/gray.js';
import type { RgbPicture } from '../../../../src/image/pixels.js';
import { nodeFolder } from '../../../golden-runner/node.js';
import { readTensors } from '../../../golden-runner/files.js';
import { compare, isWithin } from '../../../golden-runner/report.js';
import { GOLDEN, readGray, readPicture } from './support.js';

const FOLDER = 'preprocess-arithmetic';

/** How many bytes differ by 1, 2, … levels. */
function differences(got: RgbPicture, expected: RgbPicture): Readonly<Record<number, number>> {
  expect([got.width, got.height]).toEqual([expected.width, expected.height]);
  const counts: Record<number, number> = {};
  expected.rgb.forEach((value, i) => {
    const by = Math.abs(value - (got.rgb[i] ?? NaN));
    if (by !== 0) counts[by] = (counts[by] ?? 0) + 1;
  });
  return counts;
}

async function expectedGray(file: string): Promise<RgbPicture> {
  const { values, width, height } = await readGray(FOLDER, file);
  return fromGray(values, width, height);
}

describe('preprocessors without a network', async () => {
  const picture = await readPicture(FOLDER, 'picture.png');

  it("gray: Pillow's luma, every pixel", async () =>
    expect(differences(gray(picture), await expectedGray('gray.png'))).toEqual({}));

  it.each([1, 2.5, 9])("blur with sigma %d: OpenCV's, every pixel", async (sigma) =>
    expect(differences(blur(picture, sigma), await readPicture(FOLDER, `blur.${sigma}.png`))).toEqual({}),
  );
  // OpenCV resizes 8-bit pictures in fixed point of 11 bits.
  it('tile: OpenCV down and up again, within a level', async () => {
    const { 1: ones = 0, ...more } = differences(tile(picture), await readPicture(FOLDER, 'tile.png'));
    expect(more).toEqual({});
    expect(ones / picture.rgb.length).toBeLessThan(0.05);
  });

  // OpenCV's cubic weights are float32, which moves a few samples of the flow by 1/32 pixel.
  it("shuffle: controlnet_aux's detector with numpy's seed, within a level", async () => {
    const { 1: ones = 0, ...more } = differences(shuffle(picture, 7), await readPicture(FOLDER, 'shuffle.png'));
    expect(more).toEqual({});
    expect(ones / picture.rgb.length).toBeLessThan(0.01);
  });
  it('shuffle: the same flow for the same seed, another for another', () => {
    expect(shuffle(picture, 1)).toEqual(shuffle(picture, 1));
    expect(shuffle(picture, 1)).not.toEqual(shuffle(picture, 2));
  });

  it("scribble: controlnet_aux's strokes, every pixel", async () => {
    const { values } = await readGray(FOLDER, 'scribble.png');
    expect(differences(scribble(await expectedGray('edges.png')), await expectedGray('scribble.png'))).toEqual({});
    expect(values.includes(255) && values.includes(0)).toBe(true);
  });
});

describe('resampling', async () => {
  const picture = await readPicture(FOLDER, 'picture.png');
  const tensors = await readTensors(nodeFolder(`${GOLDEN}/${FOLDER}`), 'tensors.safetensors');

  it.each([
    [40, 29],
    [83, 30],
    [120, 61],
    [97, 140],
    [7, 5],
    [1, 1],
  ])("smooth to %d×%d: Pillow's BICUBIC, every pixel", async (width, height) =>
    expect(
      differences(
        resize(picture, width, height, 'bicubic'),
        await readPicture(FOLDER, `smooth.${width}x${height}.png`),
      ),
    ).toEqual({}),
  );

  const planes = [...tensors.keys()].filter((name) => name !== 'plane');
  it.each(planes)("%s: torch's interpolate", (name) => {
    const [, filter = '', width = '', height = ''] = /^(\w+)\.(\d+)x(\d+)$/.exec(name) ?? [];
    const plane = { width: 13, height: 9, channels: 2, values: Float32Array.from(tensors.get('plane') ?? []) };
    const { values } = resample(plane, Number(width), Number(height), filter as Filter); // named so by make.py
    // Weights in float64 here and float32 there.
    const result = compare(name, values, tensors.get(name) ?? [], { absolute: 5e-6, relative: 0 });
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  });

  it('refuses sizes that are none', () => {
    expect(() => resize(picture, 0, 5, 'bicubic')).toThrow('0×5');
  });
});
