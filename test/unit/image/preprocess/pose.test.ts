/** @file Crops, joints and drawn skeletons against transformers' ViTPose processor and controlnet_aux's DWPose drawing. */
import { describe, expect, it } from 'vitest';
import { cropTo, keypointsOf, widen, type Keypoint } from '../../../../src/image/preprocess/keypoints.js';
import { drawPeople, toPerson } from '../../../../src/image/preprocess/skeleton.js';
import type { RgbPicture } from '../../../../src/image/pixels.js';
import { nodeFolder } from '../../../golden-runner/node.js';
import { readTensors } from '../../../golden-runner/files.js';
import { compare, isWithin } from '../../../golden-runner/report.js';
import { GOLDEN, readPicture } from './support.js';

const FOLDER = 'preprocess-pose';

/** Rows of x, y, score. */
function keypoints(values: ArrayLike<number>): readonly Keypoint[] {
  return Array.from({ length: values.length / 3 }, (_, i) => ({
    x: values[3 * i] ?? 0,
    y: values[3 * i + 1] ?? 0,
    score: values[3 * i + 2] ?? 0,
  }));
}

/** The share of pixels that are drawn in one picture only, or in other colours, of all that are drawn in either. */
function unlike(got: RgbPicture, expected: RgbPicture): number {
  expect([got.width, got.height]).toEqual([expected.width, expected.height]);
  let [drawn, wrong] = [0, 0];
  for (let at = 0; at < expected.rgb.length; at += 3) {
    const [a, b] = [got.rgb.subarray(at, at + 3), expected.rgb.subarray(at, at + 3)];
    if (a.some(Boolean) || b.some(Boolean)) drawn++;
    if (a.join() !== b.join()) wrong++;
  }
  expect(drawn).toBeGreaterThan(100);
  return wrong / drawn;
}

describe('poses', async () => {
  const tensors = await readTensors(nodeFolder(`${GOLDEN}/${FOLDER}`), 'tensors.safetensors');
  const flat = tensors.get('people') ?? new Float64Array();
  const people = [0, 1].map((i) => keypoints(flat.subarray(399 * i, 399 * (i + 1))));

  it('bodies are drawn as controlnet_aux draws them', async () => {
    const made = drawPeople(
      people.map((joints) => toPerson(joints.slice(0, 17))),
      288,
      272,
    );
    expect(unlike(made, await readPicture(FOLDER, 'body.png'))).toBeLessThan(0.01);
  });

  // OpenCV widens lines of 2 pixels by a polygon with caps of its own; here a pixel is inked when it is within 1 of the segment.
  it('hands and faces too', async () => {
    const made = drawPeople(people.map(toPerson), 288, 272);
    expect(unlike(made, await readPicture(FOLDER, 'whole.png'))).toBeLessThan(0.03);
  });

  const picture = await readPicture(FOLDER, 'picture.png');
  const size = { width: 48, height: 64 };
  const box = widen({ x: 0, y: 0, width: picture.width, height: picture.height }, size);

  it("the crop is transformers', within a level", () => {
    const { rgb } = cropTo(picture, box, size);
    const [mean, std] = [
      [0.485, 0.456, 0.406],
      [0.229, 0.224, 0.225],
    ];
    const expected = tensors.get('pixel_values') ?? new Float64Array();
    const bytes = Array.from(rgb, (_, i) => {
      const value = expected[(i % 3) * 48 * 64 + Math.floor(i / 3)] ?? NaN;
      return Math.round(255 * (value * (std[i % 3] ?? 1) + (mean[i % 3] ?? 0)));
    });
    const worst = Math.max(...bytes.map((value, i) => Math.abs(value - (rgb[i] ?? NaN))));
    expect(worst).toBeLessThanOrEqual(1);
    expect(bytes.filter((value, i) => value !== rgb[i]).length / bytes.length).toBeLessThan(0.002);
  });

  it("joints are transformers', to a hundredth of a pixel", () => {
    const heatmaps = Float32Array.from(tensors.get('heatmaps') ?? []);
    const sure = (list: readonly Keypoint[]): readonly number[] =>
      list.flatMap(({ x, y, score }) => (score > 0.3 ? [x, y, score] : []));
    const found = keypointsOf(heatmaps, { width: 12, height: 16 }, box);
    const expected = sure(keypoints(tensors.get('found') ?? []));
    expect(expected.length).toBeGreaterThan(90);
    const result = compare('joints', sure(found), expected, { absolute: 0.01, relative: 0 });
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  });
});
