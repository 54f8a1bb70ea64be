/**
 * @file Rounded matrices that are kept in the store: the bytes of ONNX Runtime's quantiser; made once, gone on with, made anew where anything they depend
 * on is another; never seen before they are whole, whatever the power and other tabs do.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCrashingDisk } from '../../../scripts/lib/crashing-disk.js';
import { openMisbehavingServer, type MisbehavingServer } from '../../../scripts/lib/misbehaving-server.js';
import { randomFrom } from '../../../scripts/lib/soak-downloads.js';
import { blobSource, memorySource } from '../../../src/assets/byte-source.js';
import { conversionOf } from '../../../src/assets/converted/convert.js';
import { openKeptMatrices, type KeptMatrices } from '../../../src/assets/converted/kept-matrices.js';
import { layOut, type RoundedMatrix } from '../../../src/assets/converted/layout.js';
import type { DerivedFile } from '../../../src/assets/derived-files.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import type { FloatType } from '../../../src/base/dtype.js';
import { float8ToFloat32 } from '../../../src/base/fp8.js';
import { float16ToFloat32, float32ToFloat16 } from '../../../src/base/half.js';
import type { PackingFormat } from '../../../src/base/packed-matrix.js';
import { readPackedWeight } from '../../../src/assets/packed-weight.js';
import { withHalves } from '../../../src/assets/converted/halves.js';
import type { FileTree } from '../../../src/assets/source.js';
import type { Disk } from '../../../src/assets/store/disk.js';
import type { ModelStore } from '../../../src/assets/store/model-store.js';
import { openWhole } from '../../../src/assets/weight-tensors.js';
import { viewWeights, type WeightFile } from '../../../src/assets/weights.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { openGolden } from '../base/goldens.js';
import { createFakeBrowser, limitedDisk, type FakeBrowser } from './store-support.js';
import { expectBytes, problemOf, safetensors } from './support.js';

/** A file whose bytes are known to stay the same under this identity. */
async function open(bytes: Uint8Array, identity: string | undefined): Promise<WeightFile> {
  const source = { ...memorySource('w', bytes), identity: () => Promise.resolve(identity) };
  return viewWeights('w', await openWhole(source), UNET_LAYOUT);
}

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const [ROWS, COLUMNS] = [40, 96];

/** A file of six matrices of 15 KB in float32. */
function bytesOfModel(seed: number): Uint8Array {
  const random = randomFrom(seed);
  const tensor = (): { dtype: string; shape: number[]; bytes: Uint8Array } => ({
    dtype: 'F32',
    shape: [ROWS, COLUMNS],
    bytes: new Uint8Array(Float32Array.from({ length: ROWS * COLUMNS }, () => random() - 0.5).buffer),
  });
  return safetensors(Object.fromEntries(NAMES.map((name) => [name, tensor()])));
}

const model = (seed: number): Promise<WeightFile> => open(bytesOfModel(seed), `model ${seed}`);

/** A matrix in few bits. */
interface InBits extends RoundedMatrix {
  readonly format: PackingFormat;
}

const inBits = (bits: 4 | 8): readonly InBits[] =>
  NAMES.map((name) => ({ name, format: { bits, block: 32, zeros: false } }));

let browser: FakeBrowser;
beforeEach(() => void (browser = createFakeBrowser()));

const TITLE = 'a picked model';
const besides = (store: ModelStore): FileTree => store.beside(TITLE, memoryTree('files', {}));

interface Attempt {
  readonly file: WeightFile;
  readonly matrices: readonly RoundedMatrix[];
  /** Told of the byte that the writing begins at. */
  readonly onWrite?: (from: number) => void;
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

async function convert(tree: FileTree, { file, matrices, onWrite, ...options }: Attempt): Promise<KeptMatrices> {
  const layout = layOut(file, matrices);
  const conversion = await conversionOf(file, layout, 'transformer', options);
  if (conversion === undefined || tree.derived === undefined) throw new Error('it cannot be kept');
  const write: DerivedFile['write'] = (output, from) => {
    onWrite?.(from);
    return conversion.write(output, from);
  };
  const source = await tree.derived.keep({ ...conversion, write }, options.signal);
  return openKeptMatrices(source, layout, options.signal);
}

/** That what is kept is what would be read without it. */
async function expectSame(kept: KeptMatrices, file: WeightFile, matrices: readonly InBits[]): Promise<void> {
  for (const { name, format } of matrices) {
    const { codes, scales } = await readPackedWeight(file, name, format);
    const found = await kept.find(name, format)?.read('float32');
    expectBytes(found?.codes ?? new Uint8Array(), codes);
    expectBytes(bytesOf(found?.scales ?? scales.subarray(0, 0)), bytesOf(scales));
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const dataFiles = async (disk: Disk = browser.disk): Promise<readonly string[]> =>
  (await disk.list()).map(({ name }) => name).filter((name) => name.startsWith('d-'));

describe("ONNX Runtime's own matrices", () => {
  const FOLDER = new URL('../../golden/unit/matmulnbits/', import.meta.url);
  const bytes = new Uint8Array(readFileSync(new URL('tensors.safetensors', FOLDER)));
  const { shapes } = JSON.parse(readFileSync(new URL('case.json', FOLDER), 'utf8')) as {
    readonly shapes: readonly { readonly bits: 4 | 8; readonly block: number; readonly symmetric: boolean }[];
  };
  const matrices: readonly InBits[] = shapes.map(({ bits, block, symmetric }, i) => ({
    name: `${i}.W`,
    format: { bits, block, zeros: !symmetric },
  }));

  it('come back with all their parts, in either type of scales', async () => {
    const file = await open(bytes, 'golden');
    const kept = await convert(besides(browser.tab()), { file, matrices });
    for (const [i, { name, format }] of matrices.entries()) {
      const found = kept.find(name, format);
      const golden = file.find(`${i}.scales`);
      const as = golden?.dtype === 'F16' ? 'float16' : 'float32';
      let read = 0;
      const parts = await found?.read(as, undefined, (count) => (read += count));
      expect(parts?.codes.slice()).toEqual((await file.bytes(`${i}.B`)).slice());
      expect(parts?.scales.slice()).toEqual((await file.read(`${i}.scales`, as)).slice());
      expect(parts?.zeros?.slice()).toEqual(format.zeros ? (await file.bytes(`${i}.zero_points`)).slice() : undefined);
      expect(read).toBe(found?.bytes(as));
      expect(kept.find(name, { ...format, bits: format.bits === 4 ? 8 : 4 })).toBeUndefined();
      expect(kept.halves(name)).toBeUndefined();
    }
  });

  it('lie in a safetensors file', async () => {
    const file = await open(bytes, 'golden');
    await convert(besides(browser.tab()), { file, matrices });
    const [name = ''] = await dataFiles();
    const view = await browser.disk.view(name);
    if (view === undefined) throw new Error('it is not there');
    const stored = await openWhole(memorySource('stored', await view.read(0, view.bytes)));
    expect(stored.get('0.W.codes')?.shape).toEqual([16, 2, 16]);
    expect(stored.get('3.W.halves')?.dtype).toBe('F16');
    expect(stored.size).toBe(3 * shapes.length + shapes.filter(({ symmetric }) => !symmetric).length);
  });
});

describe('float16', () => {
  const halved: RoundedMatrix = { name: 'a.weight', format: 'float16' };
  /** The weights as they are used, before and after they were kept. */
  const views = async (file: WeightFile): Promise<readonly WeightFile[]> => {
    const isRounded = (name: string): boolean => name === halved.name;
    const kept = await convert(besides(browser.tab()), { file, matrices: [halved] });
    return [withHalves(file, isRounded, () => undefined), withHalves(file, isRounded, () => kept)];
  };
  const piecesOf = async (view: WeightFile, as: FloatType): Promise<readonly number[]> => {
    const values: number[] = [];
    for await (const piece of view.pieces?.(halved.name, as) ?? []) values.push(...piece);
    return values;
  };

  it('has the bits of torch, and is read as their values in float32', async () => {
    const golden = await openGolden('unit/conversions/tensors.safetensors');
    const inputs = new Float32Array(golden('input_bits').slice().buffer);
    const outputs = new Uint16Array(golden('f16_bits').slice().buffer);
    const fitting = [...inputs.keys()].filter((i) => ((outputs[i] ?? 0) & 0x7c00) !== 0x7c00);
    const values = Float32Array.from(fitting, (i) => inputs[i] ?? NaN);
    const bits = Uint16Array.from(fitting, (i) => outputs[i] ?? 0);
    expect(bits.length).toBeGreaterThan(1000);
    const tensor = { dtype: 'F32', shape: [1, bits.length], bytes: bytesOf(values) };
    const vector = { dtype: 'F32', shape: [2], bytes: bytesOf(Float32Array.of(1.0001, 1e9)) };
    const file = await open(safetensors({ 'a.weight': tensor, 'a.bias': vector }), 'golden');
    for (const view of await views(file)) {
      expect([...(await view.read('a.weight', 'float16'))]).toEqual([...bits]);
      expect([...(await view.read('a.weight', 'float32'))]).toEqual([...float16ToFloat32(bits)]);
      expect(await piecesOf(view, 'float16')).toEqual([...bits]);
      expect(await piecesOf(view, 'float32')).toEqual([...float16ToFloat32(bits)]);
      expect([...(await view.read('a.bias', 'float32'))]).toEqual([...Float32Array.of(1.0001, 1e9)]);
    }
    const [before, after] = await views(file);
    expect(before?.bits?.('a.weight')).toBeUndefined();
    expect(after?.bits?.('a.weight')).toMatchObject({ coding: 'F16' });
    expect(after?.find('a.weight')).toMatchObject({ dtype: 'F16', shape: tensor.shape });
  });

  it('is made of float8 with a factor for each row', async () => {
    const [rows, columns] = [3, 256];
    const factors = Float32Array.of(0.01, -3, 1 / 3);
    const codes = Uint8Array.from({ length: rows * columns }, (_, i) => ((i & 0x7f) % 0x7f) | (i & 0x80)); // no NaN
    const file = await open(
      safetensors({
        'a.weight': { dtype: 'F8_E4M3', shape: [rows, columns], bytes: codes },
        'a.scale_weight': { dtype: 'F32', shape: [rows], bytes: bytesOf(factors) },
      }),
      'fp8',
    );
    const products = float8ToFloat32(codes, 'F8_E4M3').map((value, i) => value * (factors[i >> 8] ?? NaN));
    for (const view of await views(file))
      expect([...(await view.read('a.weight', 'float16'))]).toEqual([...float32ToFloat16(products)]);
  });

  it('refuses what does not fit as loading does, and nothing of it is seen', async () => {
    const tensor = { dtype: 'F32', shape: [1, 2], bytes: bytesOf(Float32Array.of(1, -70_000)) };
    const file = await open(safetensors({ 'a.weight': tensor }), 'large');
    const expected = await problemOf(() => file.read('a.weight', 'float16'));
    expect(expected).toMatchObject({ code: 'invalidModelFile' });
    expect(expected.message).toContain('holds -70000, which float16 (up to 65504) cannot');
    const store = browser.tab();
    const got = await problemOf(() => convert(besides(store), { file, matrices: [halved] }));
    expect(got).toEqual(expected);
    expect(await store.list()).toEqual([]);
  });
});

describe('a conversion', () => {
  it('is made once, for all sessions, and counts as a part of its model', async () => {
    const file = await model(1);
    const begun: number[] = [];
    const attempt = { file, matrices: inBits(4), onWrite: (from: number) => void begun.push(from) };
    const store = browser.tab();
    const tree = besides(store);
    await expectSame(await convert(tree, attempt), file, inBits(4));
    await convert(tree, attempt);
    await convert(besides(browser.tab()), attempt);
    expect(begun).toEqual([0]);
    const { bytes } = layOut(file, inBits(4));
    expect(await store.list()).toMatchObject([
      { title: TITLE, bytes, derivedBytes: bytes, partialBytes: 0, files: [], inUse: true },
    ]);
  });

  it('goes with its model, when it is not read any more', async () => {
    const store = browser.tab();
    const file = await model(1);
    const tree = besides(store);
    const kept = await convert(tree, { file, matrices: inBits(4) });
    const [found] = await store.list();
    await store.delete(found?.id ?? '');
    expect(await store.list()).toEqual([]);
    await expectSame(kept, file, inBits(4));
    tree.close?.();
    await expect.poll(dataFiles).toEqual([]);
  });

  it.each([
    ['the model', 2, 4],
    ['the bits', 1, 8],
  ] as const)('is made anew for another version of %s, and the former goes', async (_, seed, bits) => {
    const before = besides(browser.tab());
    await convert(before, { file: await model(1), matrices: inBits(4) });
    before.close?.();
    const former = await dataFiles();
    const file = await model(seed);
    const kept = await convert(besides(browser.tab()), { file, matrices: inBits(bits) });
    await expectSame(kept, file, inBits(bits));
    const now = await dataFiles();
    expect(now).toHaveLength(1);
    expect(now).not.toEqual(former);
  });

  it('is gone on with where it was stopped, and tells how much was there', async () => {
    const file = await model(1);
    const matrices = inBits(8);
    const layout = layOut(file, matrices);
    const stop = new AbortController();
    let done = 0;
    const first = problemOf(() =>
      convert(besides(browser.tab({ tuning: { saveBytes: 1 } })), {
        file,
        matrices,
        signal: stop.signal,
        onBytes: (count) => {
          done += count;
          if (done > (layout.matrices[2]?.end ?? 0)) stop.abort();
        },
      }),
    );
    expect((await first).code).toBe('aborted');
    const store = browser.tab();
    const end = layout.matrices[3]?.end ?? 0;
    expect(await store.list()).toMatchObject([{ bytes: 0, partialBytes: end }]);
    const reads: string[] = [];
    const watched: WeightFile = {
      ...file,
      find(name) {
        const tensor = file.find(name);
        if (tensor === undefined) return undefined;
        const { source } = tensor;
        return { ...tensor, source: { ...source, read: (...range) => (reads.push(name), source.read(...range)) } };
      },
    };
    const begun: number[] = [];
    let told = 0;
    const kept = await convert(besides(store), {
      file: watched,
      matrices,
      onWrite: (from) => void begun.push(from),
      onBytes: (count) => void (told += count),
    });
    expect(begun).toEqual([end]);
    expect(told).toBe(layout.bytes);
    expect(new Set(reads)).toEqual(new Set(NAMES.slice(4)));
    await expectSame(kept, file, matrices);
    expect(await store.list()).toMatchObject([{ bytes: layout.bytes, partialBytes: 0 }]);
  });

  it('is made by one tab, while others wait', async () => {
    const file = await model(1);
    const begun: number[] = [];
    const attempt = { file, matrices: inBits(4), onWrite: (from: number) => void begun.push(from) };
    const all = await Promise.all([1, 2, 3].map(() => convert(besides(browser.tab()), attempt)));
    expect(begun).toEqual([0]);
    for (const kept of all) await expectSame(kept, file, inBits(4));
  });

  it('is taken over by a tab that waits where the first one stops', async () => {
    const file = await model(1);
    const stop = new AbortController();
    const first = problemOf(() =>
      convert(besides(browser.tab()), { file, matrices: inBits(4), signal: stop.signal, onWrite: () => stop.abort() }),
    );
    const second = convert(besides(browser.tab()), { file, matrices: inBits(4) });
    expect((await first).code).toBe('aborted');
    await expectSame(await second, file, inBits(4));
  });

  it('needs files of which it can be told another day that they are the same', async () => {
    const bytes = safetensors({ a: { dtype: 'F32', shape: [1, 32], bytes: new Uint8Array(128) } });
    const matrices = inBits(4).slice(0, 1);
    const anonymous = await open(bytes, undefined);
    expect(await conversionOf(anonymous, layOut(anonymous, matrices), 'x')).toBeUndefined();
    const picked = async (name: string, lastModified: number, contents = bytes): Promise<string | undefined> => {
      const source = blobSource(name, new File([contents.slice()], name, { lastModified }));
      const file = viewWeights('w', await openWhole(source), UNET_LAYOUT);
      return (await conversionOf(file, layOut(file, matrices), 'x'))?.key;
    };
    const key = await picked('w', 5);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(await picked('w', 5)).toBe(key);
    const other = bytes.slice();
    other[other.length - 1] = 1;
    for (const another of [picked('v', 5), picked('w', 6), picked('w', 5, other)]) expect(await another).not.toBe(key);
    const blob = viewWeights('w', await openWhole(blobSource('w', new Blob([bytes.slice()]))), UNET_LAYOUT);
    expect(await conversionOf(blob, layOut(blob, matrices), 'x')).toBeUndefined();
  });
});

describe('a conversion of a model that comes over the network', () => {
  let server: MisbehavingServer;
  beforeAll(async () => void (server = await openMisbehavingServer()));
  afterAll(() => server.close());

  it('is known by the hash of what was downloaded, is made without the network, and made anew with a new version', async () => {
    const matrices = inBits(4);
    const address = `${server.origin}/model.safetensors`;
    const serve = async (seed: number): Promise<WeightFile> => {
      server.files.set('/model.safetensors', { bytes: bytesOfModel(seed), etag: `"${seed}"` });
      return model(seed);
    };
    const session = async (begun: number[]): Promise<{ readonly kept: KeptMatrices; readonly tree: FileTree }> => {
      const tree = browser.tab({ revalidate: 'always' }).tree(address);
      const source = await tree.open('model.safetensors');
      if (source === undefined) throw new Error('it is not there');
      await source.download?.();
      const file = viewWeights('w', await openWhole(source), UNET_LAYOUT);
      return { kept: await convert(tree, { file, matrices, onWrite: (from) => void begun.push(from) }), tree };
    };
    const first = await serve(1);
    const begun: number[] = [];
    (await session(begun)).tree.close?.();
    browser.online = false;
    const offline = await session(begun);
    await expectSame(offline.kept, first, matrices);
    offline.tree.close?.();
    expect(begun).toEqual([0]);
    const { bytes } = layOut(first, matrices);
    const whole = bytes + bytesOfModel(1).length;
    expect(await browser.tab().list()).toMatchObject([{ address, bytes: whole, derivedBytes: bytes }]);
    browser.online = true;
    const second = await serve(2);
    const now = await session(begun);
    await expectSame(now.kept, second, matrices);
    expect(begun).toEqual([0, 0]);
    now.tree.close?.();
    await expect.poll(dataFiles).toHaveLength(2); // of the new version
  });
});

describe('room', () => {
  it('is asked for before anything is written, and there may be none', async () => {
    const file = await model(1);
    const { bytes } = layOut(file, inBits(4));
    const estimate = (free: number) => (): Promise<StorageEstimate> =>
      Promise.resolve({ quota: free + (32 << 20), usage: 0 });
    const tab = browser.tab({ estimate: estimate(bytes - 1) });
    expect((await problemOf(() => convert(besides(tab), { file, matrices: inBits(4) }))).code).toBe('storageFull');
    expect(await dataFiles()).toEqual([]);
    await convert(besides(browser.tab({ estimate: estimate(bytes) })), { file, matrices: inBits(4) });
  });

  it('that runs out on the way is made of other models, or ends it with a typed error', async () => {
    let room = 60_000;
    browser = createFakeBrowser(limitedDisk(() => room));
    const [store, file] = [browser.tab(), await model(1)];
    const named = (name: string): FileTree => store.beside(name, memoryTree(name, {}));
    for (const name of ['one', 'two', 'three', 'four']) {
      const tree = named(name);
      await expectSame(await convert(tree, { file, matrices: inBits(4) }), file, inBits(4));
      tree.close?.();
      browser.time += 1000;
    }
    expect((await store.list()).map(({ title }) => title)).not.toContain('one');
    for (const { id } of await store.list()) await store.pin(id, true);
    expect((await problemOf(() => convert(named('five'), { file, matrices: inBits(8) }))).code).toBe('storageFull');
    room = 200_000;
    await expectSame(await convert(named('five'), { file, matrices: inBits(8) }), file, inBits(8));
  });

  it('is nowhere without a disk, which is said', async () => {
    const store = browser.tab({ openDisk: () => Promise.resolve({ kind: 'none', reason: 'A private window.' }) });
    const file = await model(1);
    const problem = await problemOf(() => convert(besides(store), { file, matrices: inBits(4) }));
    expect(problem).toMatchObject({ code: 'storageFailed', message: 'A private window.' });
  });
});

it('no conversion that is not whole is ever seen, whatever the power does', { timeout: 120_000 }, async () => {
  const files = [await model(1), await model(2)];
  const sizes = ([4, 8] as const).flatMap((bits) => files.map((file) => layOut(file, inBits(bits)).bytes));
  let [kills, resumed] = [0, 0];
  for (let seed = 0; seed < 40; seed++) {
    const random = randomFrom(seed);
    const disk = createCrashingDisk(random);
    for (let session = 0; session < 6; session++) {
      browser = createFakeBrowser(disk.boot());
      browser.time += seed * 1e6 + session;
      const [file = await model(1), matrices] = [files[random() < 0.2 ? 1 : 0], inBits(random() < 0.2 ? 8 : 4)];
      const store = browser.tab({ tuning: { saveBytes: 1 + Math.floor(random() * 8000) } });
      disk.crashAfter(session < 5 ? Math.floor(random() * 30_000) : Infinity);
      try {
        if (random() < 0.1) for (const { id } of await store.list()) await store.delete(id);
        const onWrite = (from: number): void => void (resumed += from);
        const kept = await convert(besides(store), { file, matrices, onWrite });
        await expectSame(kept, file, matrices);
      } catch (error) {
        if (session === 5 || !disk.crashed()) throw error; // what it says is that of the power
        kills++;
      }
    }
    const whole = (await browser.tab().list()).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(sizes).toContain(whole); // of one conversion, not two
  }
  expect(kills).toBeGreaterThan(50);
  expect(resumed).toBeGreaterThan(50_000);
});
