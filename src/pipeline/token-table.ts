/** @file Token embeddings, looked up in the model's file: a prompt needs some dozens of the table's many thousand rows. */
import { decodeFloats } from '../assets/floats.js';
import type { WeightFile } from '../assets/weights.js';
import { fail } from '../base/errors.js';
import { TOKEN_TABLE } from '../graphs/clip-text.js';

/** Ids `[S]` → embeddings `[S, width]`; rows are read once. @throws missingWeight, invalidModelFile, invalidModelConfig */
export type EmbedTokens = (ids: Int32Array, signal?: AbortSignal) => Promise<Float32Array>;

export function openTokenTable(file: WeightFile, vocabSize: number, width: number): EmbedTokens {
  const table = file.find(TOKEN_TABLE);
  if (table === undefined) throw fail('missingWeight', `${file.name} has no token table "${TOKEN_TABLE}".`);
  if (table.shape.length !== 2 || table.shape[0] !== vocabSize || table.shape[1] !== width) {
    throw fail(
      'invalidModelFile',
      `${file.name}: the token table is [${table.shape.join(', ')}], the config asks for [${vocabSize}, ${width}].`,
    );
  }
  const rowBytes = (table.end - table.start) / vocabSize;
  const rows = new Map<number, Promise<Float32Array>>();
  const readRow = async (id: number, signal?: AbortSignal): Promise<Float32Array> => {
    if (id >= vocabSize) {
      throw fail(
        'invalidModelConfig',
        `${file.name}: the tokenizer makes token ${id}, the text encoder knows ${vocabSize}.`,
      );
    }
    const at = table.start + id * rowBytes;
    const bytes = await table.source.read(at, at + rowBytes, signal);
    return decodeFloats(bytes, table.dtype, 'float32', `${file.name}: token ${id}`);
  };
  return async (ids, signal) => {
    for (const id of ids) if (!rows.has(id)) rows.set(id, readRow(id, signal));
    const out = new Float32Array(ids.length * width);
    await Promise.all([...ids].map(async (id, i) => out.set((await rows.get(id)) ?? [], i * width)));
    return out;
  };
}
