/** @file One chunk of a prompt → the fixed-length row of ids that a CLIP text encoder takes. */
import type { ClipTokenizer } from './clip-tokenizer.js';

/** What the cloud's API takes for an empty prompt. */
const BLANK = '__BLANK__';

/** The prompt's text: `__BLANK__` and an absent prompt are empty. */
export function promptText(prompt: string | undefined): string {
  return prompt === undefined || prompt === BLANK ? '' : prompt;
}

/** One row, `[77]`: begin, `ids` (75 at most), end, padding. */
export function toRow(ids: readonly number[], { bos, eos, pad, length }: ClipTokenizer): Int32Array {
  const row = new Int32Array(length).fill(pad);
  row.set([bos, ...ids, eos]);
  return row;
}
