/** @file Weight files beyond 4 GiB, as sparse files on the disk; and tensors read in pieces, which must not be held whole. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../../scripts/lib/folder-tree.js';
import { readTensorPieces, readTensorRows } from '../../../src/assets/read-tensor.js';
import { createRoom } from '../../../src/assets/room.js';
import { openWeights, type WeightFile } from '../../../src/assets/weights.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';

const GIB = 2 ** 30;

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'darkroom-large-'))));
afterAll(() => rm(folder, { recursive: true }));

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** A safetensors file with this header, of `dataBytes` zeros but for `marks`, whose places count from the end of the header. */
async function writeSparse(
  name: string,
  header: Readonly<Record<string, Entry>>,
  dataBytes: number,
  marks: Readonly<Record<number, Uint8Array>> = {},
): Promise<void> {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(join(folder, `${name}.safetensors`), 'w');
  await file.write(Buffer.concat([length, json]), 0, 8 + json.length, 0);
  await file.truncate(8 + json.length + dataBytes);
  for (const [at, bytes] of Object.entries(marks))
    await file.write(bytes, 0, bytes.length, 8 + json.length + Number(at));
  await file.close();
}

const openFile = (name: string): Promise<WeightFile> =>
  openWeights(folderTree(folder), '', [name], { layout: UNET_LAYOUT });
const floats = (...values: readonly number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

describe('a weight file of 6 GiB', () => {
  it('gives tensors on both sides of 4 GiB, across it, and at its end', async () => {
    // The header has an odd length, so that no tensor lies at a multiple of 4.
    const header = {
      low: { dtype: 'F32', shape: [2, 2 ** 29 - 2], data_offsets: [0, 4 * GIB - 16] },
      across: { dtype: 'F32', shape: [8], data_offsets: [4 * GIB - 16, 4 * GIB + 16] },
      high: { dtype: 'F32', shape: [2 ** 29 - 8], data_offsets: [4 * GIB + 16, 6 * GIB - 16] },
      end: { dtype: 'F32', shape: [4], data_offsets: [6 * GIB - 16, 6 * GIB] },
    } as const;
    await writeSparse('six', header, 6 * GIB, {
      0: floats(1, 2),
      [4 * GIB - 16]: floats(1, 2, 3, 4, 5, 6, 7, 8),
      [6 * GIB - 16]: floats(-1, -2, -3, -4),
    });
    const file = await openFile('six');
    expect([...(await file.read('across', 'float32'))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...(await file.read('end', 'float32'))]).toEqual([-1, -2, -3, -4]);
    const high = file.find('high');
    if (high === undefined) throw new TypeError('no tensor');
    expect(high.start).toBeGreaterThan(2 ** 32);
    // The last rows of a tensor of 2 GiB, without the others.
    const last = { ...high, start: high.end - 16, shape: [4] };
    for await (const rows of readTensorRows(last, { where: 'high' })) expect([...rows]).toEqual([0, 0, 0, 0]);
    for await (const rows of readTensorRows(
      { ...file.find('low'), ...last, end: last.end + 16, shape: [8] },
      { where: 'x' },
    ))
      expect([...rows]).toEqual([0, 0, 0, 0, -1, -2, -3, -4]);
  });

  it.each([
    ['beyond the end', [0, 5 * GIB], [(5 * GIB) / 4]],
    ['that are right but for 2³²', [2 ** 32, 2 ** 32 + 16], [4]],
    ['that end before they begin, but for 2³²', [2 ** 32 + 16, 32], [4]],
    ['too large to be exact', [0, 2 ** 53 + 2], [2 ** 51]],
    ['of more than 2⁶⁴ bytes', [0, 16], [2 ** 32, 2 ** 32]],
  ] as const)('is refused with places %s', async (_, places, shape) => {
    const header = { x: { dtype: 'F32', shape, data_offsets: places } };
    await writeSparse('hostile', header, 16);
    await expect(openFile('hostile')).rejects.toMatchObject({ code: 'invalidModelFile' });
  });
});

describe('a tensor in pieces', () => {
  it.each([
    ['F32', 'float32', 4],
    ['F32', 'float16', 4],
    ['BF16', 'float16', 2],
    ['F16', 'float32', 2],
  ] as const)('gives the values of the whole: %s as %s', async (dtype, as, bytes) => {
    const [rows, columns] = [37, 101];
    const values = Uint8Array.from({ length: rows * columns * bytes }, (_, i) =>
      i % bytes === bytes - 1 ? 0x3c + (i % 7) : i * 31,
    );
    const size = values.length;
    await writeSparse('pieces', { x: { dtype, shape: [rows, columns], data_offsets: [0, size] } }, size, { 0: values });
    const file = await openFile('pieces');
    const whole = await file.read('x', as);
    const tensor = file.find('x');
    if (tensor === undefined) throw new TypeError('no tensor');
    const pieces: number[] = [];
    let most = 0;
    for await (const piece of readTensorPieces(tensor, as, { where: 'x', maxBytes: 2000 })) {
      pieces.push(...piece);
      most = Math.max(most, piece.byteLength);
    }
    expect(pieces).toEqual([...whole]);
    expect(most).toBeLessThanOrEqual(2000);

    // read into the same two places again and again, by a source that does so late
    const rooms = new Set<ArrayBuffer>();
    const { source } = tensor;
    const read: typeof source.read = async (start, end, signal, onBytes, room) => {
      const found = await source.read(start, end, signal, onBytes);
      if (room === undefined) throw new TypeError('no room');
      rooms.add(room.buffer);
      room.set(found);
      return room.subarray(0, end - start);
    };
    const again: number[] = [];
    const options = { where: 'x', maxBytes: 2000, room: createRoom(1) };
    for await (const piece of readTensorPieces({ ...tensor, source: { ...source, read } }, as, options)) {
      await new Promise((resolve) => setTimeout(resolve)); // the next one is there before this one is used
      again.push(...piece);
    }
    expect(again).toEqual([...whole]);
    expect(rooms.size).toBe(2);
  });

  it('holds little of a tensor of 768 MiB', { timeout: 240_000 }, async () => {
    const bytes = 768 * 2 ** 20;
    const half = Uint8Array.of(0x80, 0x3f); // 1 in bfloat16
    await writeSparse('wide', { x: { dtype: 'BF16', shape: [24, bytes / 48], data_offsets: [0, bytes] } }, bytes, {
      [bytes - 2]: half,
      [bytes / 2]: half,
    });
    const file = await openFile('wide');
    const start = process.memoryUsage().arrayBuffers;
    let [most, count, sum] = [0, 0, 0];
    for await (const piece of file.pieces?.('x', 'float16') ?? []) {
      most = Math.max(most, process.memoryUsage().arrayBuffers - start);
      count += piece.length;
      sum += (piece[0] ?? 0) + (piece[piece.length - 1] ?? 0);
    }
    expect(count).toBe(bytes / 2);
    expect(sum).toBe(2 * 0x3c00); // 1 in float16, at the beginning of a row and at the end of one
    // A row is 32 MiB, a piece 8: two of them as stored and two as converted are held; the rest is garbage that was not collected yet.
    expect(most).toBeLessThan(200e6);
  });

  it('stops reading when its reader stops, and throws nothing that nobody waits for', async () => {
    await writeSparse('stopped', { x: { dtype: 'F32', shape: [100, 10], data_offsets: [0, 4000] } }, 4000);
    const tensor = (await openFile('stopped')).find('x');
    if (tensor === undefined) throw new TypeError('no tensor');
    let reads = 0;
    const source = {
      ...tensor.source,
      read: (...args: Parameters<typeof tensor.source.read>) =>
        ++reads === 2 ? Promise.reject(new Error('gone')) : tensor.source.read(...args),
    };
    for await (const piece of readTensorPieces({ ...tensor, source }, 'float32', { where: 'x', maxBytes: 400 })) {
      expect(piece).toHaveLength(100);
      break;
    }
    expect(reads).toBe(2);
    reads = 0;
    const all = async (): Promise<void> => {
      for await (const piece of readTensorPieces({ ...tensor, source }, 'float32', { where: 'x', maxBytes: 400 }))
        expect(piece).toHaveLength(100);
    };
    await expect(all()).rejects.toThrow('gone');
  });
});
