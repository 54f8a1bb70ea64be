/** @file LoRA files of every format: what they add to the weights, against the goldens' reader in float64 and the training libraries themselves. */
import { describe, expect, it } from 'vitest';
import { openLora } from '../../../src/assets/lora-file.js';
import { addedBy, changedBy, digest, distance, GOLDEN, openTinyModel, readGolden } from './lora-support.js';
import { folderTree } from './support.js';

type Digests = Readonly<Record<string, readonly number[]>>;

const { files: golden } = readGolden('unit/lora-deltas/deltas.json') as {
  readonly files: Readonly<Record<string, { readonly model: 'sd15-tiny' | 'sdxl-tiny'; readonly deltas: Digests }>>;
};
const { files: merged } = readGolden('unit/lora-formats/merged.json') as {
  readonly files: Readonly<Record<string, Digests>>;
};

/** Factors are exact in float32; cores and small factors are multiplied out and rounded to it once. */
const TOLERANCE = 2e-7;

const models = { 'sd15-tiny': openTinyModel('sd15-tiny'), 'sdxl-tiny': openTinyModel('sdxl-tiny') };

describe('the golden files', () => {
  it.each(Object.keys(golden))('%s', async (name) => {
    const { model = 'sd15-tiny', deltas = {} } = golden[name] ?? {};
    const { networks, files } = await models[model];
    const lora = await openLora(folderTree(`${GOLDEN}/models/${name}`));
    const found = await lora.changesFor(networks);
    expect(found).toMatchObject({ unmatched: [], unused: [], warning: undefined });
    expect([...changedBy(found)].sort()).toEqual(Object.keys(deltas).sort());
    for (const [network, changes] of found.changes) {
      for (const change of changes) {
        const added = await addedBy(change, files.get(network));
        const key = `${network}/${change.tensor}`;
        expect(distance(digest(added), deltas[key] ?? [], added), key).toBeLessThan(TOLERANCE);
      }
    }
  });
});

describe('files that the training libraries write', () => {
  const tree = (name: string): ReturnType<typeof folderTree> => {
    if (name === 'peft') return folderTree(`${GOLDEN}/unit/lora-formats/peft`);
    return { ...folderTree(`${GOLDEN}/unit/lora-formats`), file: `${name}.safetensors` };
  };
  it.each(Object.keys(merged))('%s', async (name) => {
    const { networks, files } = await models['sd15-tiny'];
    const found = await (await openLora(tree(name))).changesFor(networks);
    expect(found).toMatchObject({ unmatched: [], unused: [] });
    const expected = merged[name] ?? {};
    expect([...changedBy(found)].sort()).toEqual(
      Object.keys(expected)
        .map((weight) => `unet/${weight}`)
        .sort(),
    );
    for (const change of found.changes.get('unet') ?? []) {
      const added = await addedBy(change, files.get('unet'));
      expect(distance(digest(added), expected[change.tensor] ?? [], added), change.tensor).toBeLessThan(TOLERANCE);
    }
  });
});
