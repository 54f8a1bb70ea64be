/**
 * @file Token embeddings, looked up in the model's file: a prompt needs some dozens of the table's many thousand rows. Tokens that
 * textual inversion adds have their rows in memory.
 */
import { readTensor } from '../assets/read-tensor.js';
import { cutRows } from '../assets/weight-tensors.js';
import type { WeightFile } from '../assets/weights.js';
import { fail } from '../base/errors.js';
import type { AddedTokens } from '../text/added-tokens.js';

/** Ids `[S]` → embeddings `[S, width]`. @throws missingWeight, invalidModelFile, invalidModelConfig, downloadFailed, aborted */
export type EmbedTokens = (ids: Int32Array, signal?: AbortSignal) => Promise<Float32Array>;

/** Rows that are kept, the latest used: those of dozens of prompts, in a few megabytes. */
const KEPT_ROWS = 1024;

/** Which weight it is, its rows and columns. */
export interface TokenTable {
  readonly name: string;
  readonly size: number;
  readonly width: number;
}

/** The table of an open model; keeps rows that were read (in full), so keep it as long as the model. */
export function openTokenTable(file: WeightFile, { name, size, width }: TokenTable, kept = KEPT_ROWS): EmbedTokens {
  const table = file.find(name);
  if (table === undefined) throw fail('missingWeight', `${file.name} has no token table "${name}".`);
  if (table.shape.length !== 2 || table.shape[0] !== size || table.shape[1] !== width) {
    throw fail(
      'invalidModelFile',
      `${file.name}: the token table is [${table.shape.join(', ')}], the config asks for [${size}, ${width}].`,
    );
  }
  const rows = new Map<number, Float32Array>();
  const readRow = async (id: number, signal?: AbortSignal): Promise<Float32Array> => {
    if (id >= size) {
      throw fail(
        'invalidModelConfig',
        `${file.name}: the tokenizer makes token ${id}, the text encoder knows ${size}.`,
      );
    }
    const where = `${file.name}: token ${id}`;
    // a copy: what was read may share memory with much more
    return (await readTensor(cutRows(table, id, id + 1, where), 'float32', { where, signal })).slice();
  };
  const keep = (id: number, row: Float32Array): void => {
    rows.delete(id);
    rows.set(id, row);
    const [oldest] = rows.keys();
    if (rows.size > kept && oldest !== undefined) rows.delete(oldest);
  };
  return async (ids, signal) => {
    const needed = new Map(
      await Promise.all(
        [...new Set(ids)].map(async (id) => [id, rows.get(id) ?? (await readRow(id, signal))] as const),
      ),
    );
    for (const [id, row] of needed) keep(id, row);
    const out = new Float32Array(ids.length * width);
    ids.forEach((id, i) => out.set(needed.get(id) ?? [], i * width));
    return out;
  };
}

/** `embed`, with rows for the ids from `first` on. @throws as `embed` */
export function withAddedRows(embed: EmbedTokens, width: number, { first, rows }: AddedTokens): EmbedTokens {
  return async (ids, signal) => {
    const known = await embed(
      ids.filter((id) => id < first),
      signal,
    );
    const out = new Float32Array(ids.length * width);
    let at = 0;
    ids.forEach((id, i) => {
      const [source, row] = id < first ? [known, at++] : [rows, id - first];
      out.set(source.subarray(row * width, (row + 1) * width), i * width);
    });
    return out;
  };
}
