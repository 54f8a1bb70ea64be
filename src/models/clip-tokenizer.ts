/** @file Where CLIP's published vocabulary is, which comes with the package for checkpoints that have none. Data only. */

/** Path → URL; written out so that bundlers copy the file along (see `bundled.ts`). Nothing is fetched before it is needed. */
export const CLIP_TOKENIZER_FILES: Readonly<Record<string, string>> = {
  'merges.txt': new URL('../../models/clip-tokenizer/merges.txt', import.meta.url).href,
};
