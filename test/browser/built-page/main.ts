/** @file A small page that uses the library as others do: built by Vite, with nothing of the tests in it. */
import { createDarkroom, DarkroomError, type Darkroom, type ProgressEvent } from '../../../src/index.js';

const REQUEST = { width: 128, height: 128, steps: 2, outputFormat: 'PNG' } as const;

const makers = new Map<string, Darkroom>();

/** Bytes of the download that is under way, and of all that it will be. */
let download: readonly [bytes: number, total: number] = [0, 0];

/** One maker for each name, kept. @param source of the model `served` */
function maker(name: string, source?: string): Darkroom {
  const made =
    makers.get(name) ??
    createDarkroom({
      backend: name.startsWith('auto') ? 'auto' : 'wasm',
      ...(source === undefined ? {} : { models: { served: source } }),
    });
  makers.set(name, made);
  return made;
}

/** Makes a picture, shows it, and gives the SHA-256 of its file; or the code of the error. @param source of its model; default the bundled one */
async function make(name: string, positivePrompt: string, seed: number, source?: string): Promise<string> {
  try {
    const model = source === undefined ? 'darkroom:1@1' : 'served';
    const onProgress = ({ stage, bytes = 0, totalBytes = 0 }: ProgressEvent): void => {
      if (stage === 'download') download = [bytes, totalBytes];
    };
    const [picture] = await maker(name, source).imageInference(
      { ...REQUEST, model, positivePrompt, seed },
      { onProgress },
    );
    if (picture?.imageURL === undefined) return 'no picture';
    const image = new Image();
    image.src = picture.imageURL;
    await image.decode();
    document.body.append(image);
    const digest = await crypto.subtle.digest('SHA-256', await picture.blob.arrayBuffer());
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
  } catch (error) {
    return error instanceof DarkroomError ? `${error.code}: ${error.message}` : String(error);
  }
}

const builtPage = {
  make,
  device: async (name: string, source?: string) => (await maker(name, source).device()).backend,
  download: () => download,
  kept: async (name: string) => (await maker(name).models.list()).map(({ title, bytes }) => ({ title, bytes })),
  persist: (name: string) => maker(name).models.persist(),
  visibility: () => document.visibilityState,
  dispose: (name: string) => maker(name).dispose(),
};
export type BuiltPage = typeof builtPage;
Object.assign(globalThis, { builtPage });
