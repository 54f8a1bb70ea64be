/** @file Runs inside the browser: makes pictures of a model that another server has, through the public API. */
import { createDarkroom, type ProgressEvent } from '../../src/index.js';

export interface Made {
  readonly sha256: string;
  readonly downloads: readonly ProgressEvent[];
}

/** A Darkroom of its own for each picture: nothing is left of the last one but what is kept. */
async function make(source: string, authorization: Readonly<Record<string, string>> = {}): Promise<Made> {
  const darkroom = createDarkroom({ backend: 'wasm', models: { tiny: source }, authorization });
  const downloads: ProgressEvent[] = [];
  try {
    const [picture] = await darkroom.imageInference(
      { positivePrompt: 'a red fox', model: 'tiny', width: 128, height: 128, steps: 2, seed: 5, outputFormat: 'PNG' },
      { onProgress: (event) => void (event.stage === 'download' && downloads.push(event)) },
    );
    if (picture === undefined) throw new Error('there is a picture');
    const hash = await crypto.subtle.digest('SHA-256', await picture.blob.arrayBuffer());
    return { sha256: [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join(''), downloads };
  } finally {
    await darkroom.dispose();
  }
}

/** What is kept, and what is left after deleting it. */
async function listAndDelete(): Promise<{ readonly kept: readonly unknown[]; readonly left: number }> {
  const darkroom = createDarkroom({ backend: 'wasm' });
  try {
    const kept = await darkroom.models.list();
    for (const { id } of kept) {
      await darkroom.models.pin(id, true);
      await darkroom.models.delete(id);
    }
    return { kept, left: (await darkroom.models.list()).length };
  } finally {
    await darkroom.dispose();
  }
}

const bench = { make, listAndDelete };
export type Bench = typeof bench;
Object.assign(globalThis, { bench });
document.body.dataset['ready'] = 'true';
