/** @file Pictures that a request names by a path of this disk → data URIs, which is what the library takes. Only for the command line. */
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { readImageHeader } from '../../src/image/image-header.js';

/** Parameters that are a picture, or a list of pictures or of objects with one. */
const PICTURES: ReadonlySet<string> = new Set([
  'guideImage',
  'inputImage',
  'image',
  'seedImage',
  'maskImage',
  'referenceImages',
]);
const HOLDERS: ReadonlySet<string> = new Set(['controlNet', 'ipAdapters']);

/** Longer text is a picture written out, not a path. */
const LONGEST_PATH = 4096;

/**
 * The task with the files in it. Text that is no path of a file below `folder` (UUID, URL, base64) stays as it is, and so does what is
 * no task.
 */
export async function withLocalPictures(task: unknown, folder: string): Promise<unknown> {
  if (typeof task !== 'object' || task === null || Array.isArray(task)) return task;
  const entries = Object.entries(task).map(async ([name, value]: [string, unknown]) => {
    if (PICTURES.has(name)) return [name, await readValue(value, folder)] as const;
    if (!HOLDERS.has(name) || !Array.isArray(value)) return [name, value] as const;
    return [name, await Promise.all(value.map((entry) => withLocalPictures(entry, folder)))] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function readValue(value: unknown, folder: string): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map((entry) => readValue(entry, folder)));
  if (typeof value !== 'string' || value.length > LONGEST_PATH || /^(data|https?|blob):/i.test(value)) return value;
  const path = resolve(folder, value);
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile() !== true) return value;
  const bytes = await readFile(path);
  const mime = mimeOf(bytes) ?? 'application/octet-stream'; // no picture: the library says so
  return `data:${mime};base64,${bytes.toString('base64')}`;
}

function mimeOf(bytes: Uint8Array): string | undefined {
  try {
    return readImageHeader(bytes)?.mime;
  } catch {
    return undefined; // damaged: the library says where
  }
}
