/**
 * @file FLUX.1 with rounded weights that are kept in a store, through the engine on the CPU: the same picture to the bit as with weights that are rounded
 * while they are read, whether they stay on the device or not; told while it is done, and when it cannot be done.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import type { Disk } from '../../src/assets/store/disk.js';
import { createMemoryDisk } from '../../src/assets/store/memory-disk.js';
import { createModelStore, type ModelStore, type StoreDeps } from '../../src/assets/store/model-store.js';
import { decodePng } from '../../src/image/png.js';
import type { ProgressEvent, WireEvent } from '../../src/pipeline/events.js';

const models = {
  flux: join(import.meta.dirname, '../golden/models/flux-dev-tiny'),
  lora: join(import.meta.dirname, '../golden/models/flux-lora-kohya-all'),
};
const REQUEST = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  model: 'flux',
  positivePrompt: 'a red fox asleep under a pine tree in fresh snow',
  width: 128,
  height: 128,
  steps: 2,
  seed: 1234,
  outputFormat: 'PNG',
};

interface Made {
  readonly pixels: readonly number[];
  readonly warnings: readonly string[];
  readonly converted: readonly ProgressEvent[];
  /** Bytes that were to be read for sessions → most that were told to be. */
  readonly loaded: ReadonlyMap<number, number>;
}

interface Options {
  readonly store?: ModelStore;
  readonly weightBits?: 4 | 8;
  readonly memoryBudgetBytes?: number;
  readonly request?: object;
}

/** In a session of its own. */
async function make({ weightBits = 4, request = {}, ...options }: Options): Promise<Made> {
  const engine = createNodeEngine({ models, details: { flux: { overrides: { weightBits } } }, ...options });
  const events: WireEvent[] = [];
  const { errors } = await engine.run([{ ...REQUEST, ...request }], { onEvent: (event) => void events.push(event) });
  await engine.dispose();
  expect(errors).toEqual([]);
  const progress = events.filter((event) => event.kind === 'progress');
  const loaded = new Map<number, number>();
  for (const { stage, bytes = 0, totalBytes } of progress)
    if (stage === 'load' && totalBytes !== undefined) loaded.set(totalBytes, bytes);
  const [picture] = events.flatMap((event) => (event.kind === 'picture' ? [event.picture] : []));
  return {
    pixels: picture === undefined ? [] : [...(await decodePng(picture.bytes)).data],
    warnings: picture?.warnings ?? [],
    converted: progress.filter(({ stage }) => stage === 'convert'),
    loaded,
  };
}

const storeOn = (disk: Disk, more: Partial<StoreDeps> = {}): ModelStore =>
  createModelStore({
    openDisk: () => Promise.resolve({ kind: 'disk', disk }),
    http: { fetch: () => Promise.reject(new TypeError('no network')) },
    ...more,
  });

let rounded: Made;
const disk = createMemoryDisk();
beforeAll(async () => void (rounded = await make({})));

describe('rounded weights that are kept', () => {
  it('make the picture of those that are rounded while they are read; they are made once', async () => {
    expect(rounded.warnings).toEqual([expect.stringMatching(/rounded each time.*nothing is stored here/)]);
    const first = await make({ store: storeOn(disk) });
    expect(first.pixels).toEqual(rounded.pixels);
    expect(first.warnings).toEqual([]);
    const [model] = await storeOn(disk).list();
    expect(model).toMatchObject({ title: 'flux', files: [], partialBytes: 0 });
    expect(first.converted.at(-1)).toMatchObject({ bytes: model?.bytes, totalBytes: model?.bytes });
    const second = await make({ store: storeOn(disk) });
    expect(second).toEqual({ ...first, converted: [] });
    for (const [all, told] of second.loaded) expect(told).toBe(all);
    expect(second.loaded).not.toEqual(rounded.loaded);
  });

  it('are what is read later, also where blocks take turns', async () => {
    const streamed = await make({ store: storeOn(disk), memoryBudgetBytes: 1e6 });
    expect(streamed.converted).toEqual([]);
    expect(streamed.pixels).toEqual(rounded.pixels);
    const copy = await copyOf(disk);
    const [data = ''] = (await copy.list()).map(({ name }) => name).filter((name) => name.startsWith('d-'));
    const file = await copy.open(data);
    const half = (await file.bytes()) >> 1;
    await file.write(new Uint8Array(half), half); // the scales and codes of the later half
    for (const memoryBudgetBytes of [1e6, 1e12]) {
      const broken = await make({ store: storeOn(copy), memoryBudgetBytes });
      expect(broken.converted).toEqual([]);
      expect(broken.pixels).not.toEqual(rounded.pixels);
    }
  });

  it('take a LoRA as those do that are rounded while they are read', async () => {
    const request = { lora: [{ model: 'lora', weight: 1 }] };
    const kept = await make({ store: storeOn(disk), request });
    expect(kept.converted).toEqual([]);
    expect(kept.pixels).toEqual((await make({ request })).pixels);
  });

  it('are rounded while they are read where there is no room, which is said', async () => {
    const estimate = (): Promise<StorageEstimate> => Promise.resolve({ quota: 1000, usage: 0 });
    const full = await make({ store: storeOn(createMemoryDisk(), { estimate }) });
    expect(full.pixels).toEqual(rounded.pixels);
    expect(full.converted).toEqual([]);
    expect(full.warnings).toEqual([expect.stringMatching(/rounded each time.*needs 1 MB; the browser has/)]);
  });
});

async function copyOf(from: Disk): Promise<Disk> {
  const copy = createMemoryDisk();
  for (const { name, bytes } of await from.list()) {
    const file = await copy.open(name);
    await file.write((await (await from.view(name))?.read(0, bytes)) ?? new Uint8Array(), 0);
  }
  return copy;
}
