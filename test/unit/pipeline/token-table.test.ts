/** @file The token table: rows by id, what is kept and what is not, rows of added tokens. */
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { ByteSource } from '../../../src/assets/source.js';
import { viewWeights, type WeightFile } from '../../../src/assets/weights.js';
import { fail, throwIfAborted } from '../../../src/base/errors.js';
import { TOKEN_TABLE } from '../../../src/graphs/clip-text.js';
import { openTokenTable, withAddedRows } from '../../../src/pipeline/token-table.js';
import { problemOf } from '../assets/support.js';

const WIDTH = 3;
const SIZE = 10;

interface Reads {
  readonly file: WeightFile;
  /** Ids read, in order. */
  readonly ids: number[];
  /** Runs before each read. */
  before: (signal?: AbortSignal) => void | Promise<void>;
}

/** A table in which row i is [i, i + ¼, i + ½]. */
function table(): Reads {
  const rows = Float32Array.from({ length: SIZE * WIDTH }, (_, i) => Math.floor(i / WIDTH) + (i % WIDTH) / 4);
  const inner = memorySource('text', new Uint8Array(rows.buffer));
  const ids: number[] = [];
  const source: ByteSource = {
    ...inner,
    read: async (start, end, signal) => {
      ids.push(start / (4 * WIDTH));
      await reads.before(signal);
      throwIfAborted(signal);
      return inner.read(start, end, signal);
    },
  };
  const tensor = { dtype: 'F32' as const, shape: [SIZE, WIDTH], start: 0, end: rows.byteLength, source };
  const layout = {
    places: (name: string) => [{ name }],
    shape: (_: string, shape: readonly number[]) => shape,
  };
  const reads: Reads = {
    file: viewWeights('text', new Map([[TOKEN_TABLE, tensor]]), layout),
    ids,
    before: () => undefined,
  };
  return reads;
}

const row = (id: number): number[] => [id, id + 0.25, id + 0.5];

describe('openTokenTable', () => {
  it('gives rows in the order of ids, and reads each once', async () => {
    const { file, ids } = table();
    const embed = openTokenTable(file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH });
    expect([...(await embed(Int32Array.of(4, 2, 4, 9)))]).toEqual([row(4), row(2), row(4), row(9)].flat());
    expect([...(await embed(Int32Array.of(9, 0, 2)))]).toEqual([row(9), row(0), row(2)].flat());
    expect(ids).toEqual([4, 2, 9, 0]);
  });

  it('forgets a read that failed, and one that was aborted', async () => {
    const reads = table();
    const embed = openTokenTable(reads.file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH });
    reads.before = () => {
      throw fail('downloadFailed', 'gone');
    };
    expect(await problemOf(() => embed(Int32Array.of(1)))).toMatchObject({ code: 'downloadFailed' });
    const controller = new AbortController();
    reads.before = () => controller.abort();
    expect(await problemOf(() => embed(Int32Array.of(1), controller.signal))).toMatchObject({ code: 'aborted' });
    reads.before = () => undefined;
    expect([...(await embed(Int32Array.of(1)))]).toEqual(row(1));
  });

  it('an aborted task does not fail another that needs the same row', async () => {
    const reads = table();
    const embed = openTokenTable(reads.file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH });
    const controller = new AbortController();
    reads.before = () => Promise.resolve();
    const first = problemOf(() => embed(Int32Array.of(1), controller.signal));
    const second = embed(Int32Array.of(1));
    controller.abort();
    expect(await first).toMatchObject({ code: 'aborted' });
    expect([...(await second)]).toEqual(row(1));
  });

  it('keeps the latest used', async () => {
    const { file, ids } = table();
    const embed = openTokenTable(file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH }, 2);
    for (const id of [1, 2, 1, 3, 1, 2]) await embed(Int32Array.of(id));
    expect(ids).toEqual([1, 2, 3, 2]);
    expect([...(await embed(Int32Array.of(5, 6, 7, 5)))]).toEqual([row(5), row(6), row(7), row(5)].flat());
  });

  it('what it gave may be changed', async () => {
    const embed = openTokenTable(table().file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH });
    (await embed(Int32Array.of(1))).fill(NaN);
    expect([...(await embed(Int32Array.of(1)))]).toEqual(row(1));
  });

  it('refuses ids that the table lacks, and a table of another size', async () => {
    const { file } = table();
    expect(
      await problemOf(() => openTokenTable(file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH })(Int32Array.of(SIZE))),
    ).toMatchObject({
      code: 'invalidModelConfig',
    });
    expect(
      await problemOf(() => openTokenTable(file, { name: TOKEN_TABLE, size: SIZE + 1, width: WIDTH })),
    ).toMatchObject({ code: 'invalidModelFile' });
    const other = viewWeights('text', new Map(), { places: (name) => [{ name }], shape: (_, shape) => shape });
    expect(await problemOf(() => openTokenTable(other, { name: TOKEN_TABLE, size: SIZE, width: WIDTH }))).toMatchObject(
      { code: 'missingWeight' },
    );
  });
});

describe('withAddedRows', () => {
  it('takes rows from the first added id on from memory, the others from the table', async () => {
    const { file, ids } = table();
    const rows = Float32Array.from([100, 101, 102, 200, 201, 202]);
    const embed = withAddedRows(openTokenTable(file, { name: TOKEN_TABLE, size: SIZE, width: WIDTH }), WIDTH, {
      first: 8,
      rows,
    });
    expect([...(await embed(Int32Array.of(9, 3, 8, 3, 0)))]).toEqual(
      [[200, 201, 202], row(3), [100, 101, 102], row(3), row(0)].flat(),
    );
    expect(ids).toEqual([3, 0]);
  });
});
