/** @file A small page that uses the library as others do: built by Vite, with nothing of the tests in it. */
import { createDarkroom, DarkroomError, type Darkroom } from '../../../src/index.js';

const REQUEST = { model: 'darkroom:1@1', width: 128, height: 128, steps: 2, outputFormat: 'PNG' } as const;

const makers = new Map<string, Darkroom>();

/** One maker for each name, kept. */
function maker(name: string): Darkroom {
  const made = makers.get(name) ?? createDarkroom({ backend: name.startsWith('auto') ? 'auto' : 'wasm' });
  makers.set(name, made);
  return made;
}

/** Makes a picture, shows it, and gives the SHA-256 of its file; or the code of the error. */
async function make(name: string, positivePrompt: string, seed: number): Promise<string> {
  try {
    const [picture] = await maker(name).imageInference({ ...REQUEST, positivePrompt, seed });
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
  device: async (name: string) => (await maker(name).device()).backend,
  dispose: (name: string) => maker(name).dispose(),
};
export type BuiltPage = typeof builtPage;
Object.assign(globalThis, { builtPage });
