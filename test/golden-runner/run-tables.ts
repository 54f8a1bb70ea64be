/** @file The goldens that need no network and no scheduler: token ids of every prompt, and (run-noise.ts) seeded noise. */
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { readGoldenJson, type GoldenFolder } from './files.js';
import { compare, outcomeOf, type Comparison, type Outcome } from './report.js';

export { runNoise } from './run-noise.js';

const EXACT = { absolute: 0, relative: 0 } as const;

interface PromptIds {
  readonly text: string | null;
  readonly utf16?: readonly number[];
  readonly clip?: { readonly ids: readonly number[] };
  readonly clip2?: { readonly ids: readonly number[] };
}

/** Ids with begin and end, of all prompts, by both CLIP tokenizers. */
export async function runTokens(folder: GoldenFolder): Promise<readonly Outcome[]> {
  const { prompts } = (await readGoldenJson(folder, 'tokens/prompts.json')) as {
    readonly prompts: readonly PromptIds[];
  };
  const outcomes: Outcome[] = [];
  for (const name of ['clip', 'clip2'] as const) {
    const start = performance.now();
    const tokenizer = createClipTokenizer(await readTokenizerFiles(folder.tree('tokens'), name));
    const comparisons = prompts.flatMap((prompt, i): Comparison[] => {
      const ids = (prompt[name] ?? prompt.clip)?.ids;
      if (ids === undefined) return [];
      const text = prompt.text ?? String.fromCharCode(...(prompt.utf16 ?? []));
      return [
        compare(
          `prompt ${i} ${JSON.stringify(text.slice(0, 40))}`,
          [tokenizer.bos, ...tokenizer.encode(text), tokenizer.eos],
          ids,
          EXACT,
        ),
      ];
    });
    outcomes.push(outcomeOf('tokens', name, comparisons, start));
  }
  return outcomes;
}
