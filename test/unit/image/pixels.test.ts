/** @file Decoder output → bytes against a picture that diffusers made of the same numbers, and previews against their formula. */
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { toPixels } from '../../../src/image/pixels.js';
import { latentsToRgba } from '../../../src/image/preview.js';

const CASE = new URL('../../golden/cases/sd15-euler/', import.meta.url);

/** The golden's `decoded`: raw VAE output [1, 3, H, W] in float32. */
async function decoded(): Promise<{ readonly values: Float32Array; readonly width: number; readonly height: number }> {
  const file = await readFile(new URL('tensors.safetensors', CASE));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header: unknown = JSON.parse(file.subarray(8, 8 + headerBytes).toString());
  expect(header).toMatchObject({ decoded: { dtype: 'F32', shape: [1, 3, 128, 128] } });
  const [from, to] = (header as { decoded: { data_offsets: [number, number] } }).decoded.data_offsets; // checked above
  const data = file.subarray(8 + headerBytes + from, 8 + headerBytes + to);
  return { values: new Float32Array(new Uint8Array(data).buffer), width: 128, height: 128 };
}

describe('toPixels', () => {
  it("makes exactly the bytes of diffusers' picture, in both layouts", async () => {
    const { values, width, height } = await decoded();
    const golden = new Uint8Array(
      await sharp(await readFile(new URL('image.png', CASE)))
        .raw()
        .toBuffer(),
    );
    expect(toPixels(values, width, height, 'chw')).toEqual(golden);
    const area = width * height;
    const interleaved = values.map((_, i) => values[(i % 3) * area + Math.floor(i / 3)] ?? NaN);
    expect(toPixels(interleaved, width, height, 'hwc')).toEqual(golden);
  });

  it('clamps, and rounds half to even', () => {
    expect([...toPixels(Float32Array.of(-3, -1, 3, 1, 0, 0.00392157), 2, 1, 'hwc')]).toEqual([
      0, 0, 255, 255, 128, 128,
    ]);
    // float32 numbers for which fround(fround(x/2 + 0.5)·255) is exactly 64.5, 65.5, 66.5
    const halves = Float32Array.of(-0.4941175878047943, -0.48627445101737976, -0.4784313142299652);
    expect([...toPixels(halves, 1, 1, 'chw')]).toEqual([64, 66, 66]);
  });

  it('refuses numbers that are not finite, naming the place', () => {
    expect(() => toPixels(Float32Array.of(0, 0, 0, 0, NaN, 0), 2, 1, 'hwc')).toThrow(/NaN at column 1, row 0/);
    expect(() => toPixels(Float32Array.of(0, Infinity, 0), 1, 1, 'chw')).toThrow(/Infinity/);
    expect(() => toPixels(new Float32Array(4), 1, 1, 'chw')).toThrow(/expected 3 values, got 4/);
  });
});

describe('latentsToRgba', () => {
  it('is latent · factors + bias, from −1…1 to 0…255', () => {
    const map = {
      factors: [
        [0.5, 0, 0],
        [0, -1, 0.25],
      ],
      bias: [0.1, 0, -0.2],
    } as const;
    // cell 0: latent (1, −0.5) → r 0.6, g 0.5, b −0.325; cell 1: latent (−4, 2) → r −1.9, g −2, b 0.3
    const rgba = latentsToRgba(Float32Array.of(1, -4, -0.5, 2), 2, 1, map);
    // 255·(0.6/2 + 0.5) = 204, 255·0.75 = 191.25, 255·0.3375 = 86.06; clamped 0, 0; 255·0.65 = 165.75
    expect([...rgba]).toEqual([204, 191, 86, 255, 0, 0, 166, 255]);
  });

  it('refuses latents of another shape', () => {
    expect(() => latentsToRgba(new Float32Array(3), 2, 1, { factors: [[0, 0, 0]], bias: [0, 0, 0] })).toThrow(/1×1×2/);
  });
});
