/** @file Where the command line makes its pictures: in this process on the CPU, or in headless Chromium on the GPU. */
import { statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { WireError } from '../../src/base/errors.js';
import type { ProgressEvent, WirePicture } from '../../src/pipeline/events.js';
import type { Harness } from '../page/harness.js';
import { BUNDLED_MODEL, createNodeEngine, DEFAULT_MODEL } from './node-engine.js';
import { openServedPage } from './served-page.js';
import type { PictureFacts } from './response.js';

export interface Generated {
  readonly picture: PictureFacts & { readonly base64: string };
  readonly bytes: Uint8Array;
}

export interface GenerateResult {
  readonly pictures: readonly Generated[];
  readonly errors: readonly WireError[];
}

/** @param request one request or an array of tasks, unchecked; @param paths model name → folder or weight file on disk */
export type Generate = (
  request: unknown,
  paths: Readonly<Record<string, string>>,
  onProgress: (event: ProgressEvent) => void,
) => Promise<GenerateResult>;

export const generateInNode: Generate = async (request, paths, onProgress) => {
  const engine = createNodeEngine({ models: paths });
  const pictures: Generated[] = [];
  try {
    const { errors } = await engine.run(request, {
      onEvent(event) {
        if (event.kind === 'progress') onProgress(event);
        if (event.kind === 'picture') pictures.push(generated(event.picture));
      },
    });
    return { pictures, errors };
  } finally {
    await engine.dispose();
  }
};

function generated({ bytes, ...picture }: WirePicture): Generated {
  return { picture: { ...picture, base64: Buffer.from(bytes).toString('base64') }, bytes };
}

export const generateInChromium: Generate = async (request, paths, onProgress) => {
  // Names may hold any character; URLs get plain keys.
  const served = Object.entries({ [DEFAULT_MODEL]: BUNDLED_MODEL, ...paths }).map(([name, path], i) => {
    const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
    const key = `model-${i}`;
    return {
      name,
      key,
      folder: isFile ? dirname(path) : path,
      url: isFile ? `${key}/${encodeURIComponent(basename(path))}` : key,
    };
  });
  const harness = await openServedPage(Object.fromEntries(served.map(({ key, folder }) => [key, folder])));
  try {
    await harness.page.exposeFunction('reportProgress', onProgress);
    const models = Object.fromEntries(served.map(({ name, url }) => [name, url]));
    const { pictures, errors } = await harness.page.evaluate(
      ([input, options]) => (Reflect.get(globalThis, 'harness') as Harness).generate(JSON.parse(input), options),
      [JSON.stringify(request), { backend: 'webgpu' as const, models }] as const,
    );
    return {
      errors,
      pictures: pictures.map(({ picture, base64, seed }) => ({
        picture: { ...picture, seed: BigInt(seed), base64 },
        bytes: Buffer.from(base64, 'base64'),
      })),
    };
  } finally {
    await harness.close();
  }
};
