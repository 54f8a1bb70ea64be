/** @file Colours ↔ gray values of 8 bits. Pure; imports only pictures. */
import type { RgbPicture } from '../pixels.js';

/**
 * Luma of ITU-R BT.601 in fixed point of 16 bits, `(19595·R + 38470·G + 7471·B + 2¹⁵) >> 16`: Pillow's mode "L"
 * (https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.convert).
 * @returns `width·height` gray values
 */
export function luma({ width, height, rgb }: RgbPicture): Uint8Array {
  const values = new Uint8Array(width * height);
  for (let pixel = 0; pixel < values.length; pixel++) {
    const [r, g, b] = [rgb[3 * pixel] ?? 0, rgb[3 * pixel + 1] ?? 0, rgb[3 * pixel + 2] ?? 0];
    values[pixel] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
  }
  return values;
}

/** The picture in grays. */
export function gray(picture: RgbPicture): RgbPicture {
  return fromGray(luma(picture), picture.width, picture.height);
}

/** `width·height` gray values as a picture. */
export function fromGray(values: Uint8Array, width: number, height: number): RgbPicture {
  const rgb = new Uint8Array(3 * values.length);
  for (let pixel = 0; pixel < values.length; pixel++) {
    rgb[3 * pixel] = rgb[3 * pixel + 1] = rgb[3 * pixel + 2] = values[pixel] ?? 0;
  }
  return { width, height, rgb };
}
