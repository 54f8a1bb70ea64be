/** @file Where the command line makes its pictures: in this process on the CPU, or in headless Chromium on the GPU. */
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

/** @param request one request or an array of tasks, unchecked; @param folders model name → folder on disk */
export type Generate = (
  request: unknown,
  folders: Readonly<Record<string, string>>,
  onProgress: (event: ProgressEvent) => void,
) => Promise<GenerateResult>;

export const generateInNode: Generate = async (request, folders, onProgress) => {
  const engine = createNodeEngine({ models: folders });
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

export const generateInChromium: Generate = async (request, folders, onProgress) => {
  const paths = { [DEFAULT_MODEL]: BUNDLED_MODEL, ...folders };
  const names = Object.keys(paths);
  // Names may hold any character; URLs get plain keys.
  const served = await openServedPage(Object.fromEntries(Object.values(paths).map((path, i) => [`model-${i}`, path])));
  try {
    await served.page.exposeFunction('reportProgress', onProgress);
    const models = Object.fromEntries(names.map((name, i) => [name, `model-${i}`]));
    const { pictures, errors } = await served.page.evaluate(
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
    await served.close();
  }
};
