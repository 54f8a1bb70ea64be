/** @file Reading the goldens of preprocessors: PNG files, their case.json, tensors. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodePng } from '../../../../src/image/png.js';
import type { RgbPicture } from '../../../../src/image/pixels.js';

export const GOLDEN = join(import.meta.dirname, '../../../golden/unit');

/** `case.json` of a folder of goldens. Its shape is the folder's own; our make.py wrote it. */
export async function readAbout<T>(folder: string): Promise<T> {
  return JSON.parse(await readFile(join(GOLDEN, folder, 'case.json'), 'utf8')) as T; // written by the folder's make.py
}

export async function readPicture(folder: string, file: string): Promise<RgbPicture> {
  const { width, height, channels, data } = await decodePng(await readFile(join(GOLDEN, folder, file)));
  if (channels !== 3) throw new Error(`${file} has ${channels} channels; expected 3`);
  return { width, height, rgb: data };
}

export async function readGray(
  folder: string,
  file: string,
): Promise<{ readonly width: number; readonly height: number; readonly values: Uint8Array }> {
  const { width, height, channels, data } = await decodePng(await readFile(join(GOLDEN, folder, file)));
  if (channels !== 1) throw new Error(`${file} has ${channels} channels; expected 1`);
  return { width, height, values: data };
}
