/**
 * @file FLUX.1 with rounded weights that are kept in a store, through the engine on the CPU: the same picture to the bit as with weights that are rounded
 * while they are read, whether they stay on the device or not; told while it is done, and when it cannot be done.
 */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import type { Disk } from '../../src/assets/store/disk.js';
import { createMemoryDisk } from '../../src/assets/store/memory-disk.js';
import { createModelStore, type ModelStore, type StoreDeps } from '../../src/assets/store/model-store.js';
import { bfloat16ToFloat32 } from '../../src/base/half.js';
import { decodePng } from '../../src/image/png.js';
import type { ModelOverrides } from '../../src/models/details.js';
import type { ProgressEvent, WireEvent } from '../../src/pipeline/events.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const models = {
  flux: join(GOLDEN, 'models/flux-dev-tiny'),
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
  /** Default: the transformer in 4 bits. */
  readonly bits?: Pick<ModelOverrides, 'weightBits' | 'textEncoderBits'>;
  /** Default: the tiny one. */
  readonly flux?: string;
  readonly memoryBudgetBytes?: number;
  readonly request?: object;
}

/** In a session of its own. */
async function make({
  bits = { weightBits: 4 },
  request = {},
  flux = models.flux,
  ...options
}: Options): Promise<Made> {
  const details = { flux: { overrides: bits } };
  const engine = createNodeEngine({ models: { ...models, flux }, details, ...options });
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

/** Peak signal to noise of 8-bit values, in decibels. */
function likeness(a: readonly number[], b: ArrayLike<number>): number {
  const square = a.reduce((sum, value, i) => sum + (value - (b[i] ?? NaN)) ** 2, 0) / a.length;
  return 10 * Math.log10(255 ** 2 / square);
}

const goldenPixels = async (name: string): Promise<ArrayLike<number>> =>
  (await decodePng(new Uint8Array(await readFile(join(GOLDEN, `cases/${name}/image-0.png`))))).data;

describe('the text encoder', () => {
  const disk = createMemoryDisk();

  it('is kept beside the transformer, each told of by itself, and makes the picture that it makes when it is rounded at each time', async () => {
    const bits = { weightBits: 8, textEncoderBits: 4 } as const;
    const first = await make({ store: storeOn(disk), bits });
    const [model] = await storeOn(disk).list();
    const totals = [...new Set(first.converted.map(({ totalBytes }) => totalBytes))].filter(
      (total) => total !== undefined,
    );
    expect(totals).toHaveLength(2);
    expect(totals.reduce((sum, bytes) => sum + bytes)).toBe(model?.bytes);
    const second = await make({ store: storeOn(disk), bits });
    expect(second).toEqual({ ...first, converted: [] });
    const unkept = await make({ bits });
    expect(unkept.pixels).toEqual(first.pixels);
    expect(unkept.warnings).toEqual([
      expect.stringMatching(/transformer of .* rounded each time.*nothing is stored here/),
      expect.stringMatching(/text encoder of .* rounded each time.*nothing is stored here/),
    ]);
  });

  it("is made anew alone when its bits are others, and is near diffusers' picture, nearer with 8 bits than with 4", async () => {
    const golden = await goldenPixels('flux-dev-default');
    const request = { steps: 4, CFGScale: 3.5 };
    const four = await make({ store: storeOn(disk), request, bits: { weightBits: 8, textEncoderBits: 4 } });
    const eight = await make({ store: storeOn(disk), request, bits: { weightBits: 8, textEncoderBits: 8 } });
    expect(four.converted).toEqual([]);
    expect(
      new Set(eight.converted.map(({ totalBytes }) => totalBytes).filter((total) => total !== undefined)).size,
    ).toBe(1);
    const [near, nearer] = [likeness(four.pixels, golden), likeness(eight.pixels, golden)];
    expect(near).toBeGreaterThan(30);
    expect(nearer).toBeGreaterThan(near);
  });
});

describe('float16', () => {
  let folder: string;
  /** The tiny model with its transformer in float32. */
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'darkroom-'));
    await cp(models.flux, folder, { recursive: true });
    const transformer = join(folder, 'transformer');
    for (const name of await readdir(transformer))
      if (name.endsWith('.safetensors')) await widen(join(transformer, name));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("is kept of a file of float32, read from then on, and makes diffusers' picture", async () => {
    const disk = createMemoryDisk();
    const bits = { weightBits: 16 } as const;
    const request = { steps: 4, CFGScale: 3.5 };
    const first = await make({ flux: folder, store: storeOn(disk), bits, request });
    expect(first.converted.at(-1)?.totalBytes).toBe((await storeOn(disk).list())[0]?.bytes);
    const second = await make({ flux: folder, store: storeOn(disk), bits, request });
    expect(second).toEqual({ ...first, converted: [] });
    const golden = await goldenPixels('flux-dev-default');
    expect(Math.max(...first.pixels.map((value, i) => Math.abs(value - (golden[i] ?? NaN))))).toBeLessThanOrEqual(1);
    const halves = Math.max(...second.loaded.keys());
    expect(halves).toBeLessThan(0.6 * Math.max(...(await make({ flux: folder, bits: {}, request })).loaded.keys()));
  });

  it('is not made of a file of bfloat16, which is as short', async () => {
    const disk = createMemoryDisk();
    const made = await make({ store: storeOn(disk), bits: { weightBits: 16, textEncoderBits: 16 } });
    expect([made.converted, made.warnings, await storeOn(disk).list()]).toEqual([[], [], []]);
  });
});

/** Tensors of bfloat16 as float32. */
async function widen(path: string): Promise<void> {
  const bytes = await readFile(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = bytes.toString('utf8', 8, 8 + length).replaceAll('"BF16"', '"F32"');
  const doubled = header.replaceAll(
    /"data_offsets":\s*\[(\d+),\s*(\d+)\]/g,
    (_, start, end) => `"data_offsets":[${2 * Number(start)},${2 * Number(end)}]`,
  );
  const text = Buffer.from(doubled);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  const values = bfloat16ToFloat32(new Uint16Array(new Uint8Array(bytes.subarray(8 + length)).buffer));
  await writeFile(path, Buffer.concat([size, text, new Uint8Array(values.buffer)]));
}

async function copyOf(from: Disk): Promise<Disk> {
  const copy = createMemoryDisk();
  for (const { name, bytes } of await from.list()) {
    const file = await copy.open(name);
    await file.write((await (await from.view(name))?.read(0, bytes)) ?? new Uint8Array(), 0);
  }
  return copy;
}
