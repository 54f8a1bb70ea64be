/** @file Prompts of any length → the fixed-length id rows that a CLIP text encoder takes. */
import type { ClipTokenizer } from './clip-tokenizer.js';

/** What the cloud's API takes for an empty prompt. */
const BLANK = '__BLANK__';

/** Both sides have the same number of rows, at least one; a row is `[77]`: begin, up to 75 ids, end, padding. */
export interface PromptChunks {
  readonly positive: readonly Int32Array[];
  readonly negative: readonly Int32Array[];
}

/** The prompt's text: `__BLANK__` and an absent prompt are empty. */
export function promptText(prompt: string | undefined): string {
  return prompt === undefined || prompt === BLANK ? '' : prompt;
}

/**
 * Cuts both prompts every 75 ids (`tokenizer.length` − 2) and fills the shorter side with rows of an empty prompt.
 * Where guidance is off, leave `negative` out: its rows are then those of empty prompts.
 */
export function chunkPrompts(tokenizer: ClipTokenizer, positive: string, negative?: string): PromptChunks {
  const size = tokenizer.length - 2;
  const idsOf = (prompt: string | undefined): readonly number[] => tokenizer.encode(promptText(prompt));
  const [wanted, unwanted] = [idsOf(positive), idsOf(negative)];
  const count = Math.max(1, Math.ceil(wanted.length / size), Math.ceil(unwanted.length / size));
  const rows = (ids: readonly number[]): readonly Int32Array[] =>
    Array.from({ length: count }, (_, i) => toRow(ids.slice(i * size, (i + 1) * size), tokenizer));
  return { positive: rows(wanted), negative: rows(unwanted) };
}

/** One row: begin, `ids` (75 at most), end, padding. */
export function toRow(ids: readonly number[], { bos, eos, pad, length }: ClipTokenizer): Int32Array {
  const row = new Int32Array(length).fill(pad);
  row.set([bos, ...ids, eos]);
  return row;
}
