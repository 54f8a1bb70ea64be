/** @file Fuzz target: prompts in every dialect, up to the longest, with and without embeddings; what is planned is rows that the text encoders can take. */
import { memoryTree } from '../../src/assets/file-tree.js';
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { withMarks } from '../../src/text/added-tokens.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import type { PromptPlan, SidePlan } from '../../src/text/prompt-plan.js';
import { markTriggers, type Triggered } from '../../src/text/triggers.js';
import { planPrompt } from '../../src/text/weighted.js';
import type { Golden } from './fuzz-configs.js';
import { mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { judge, must, type Target } from './fuzz-target.js';

/** What means something in one of the dialects, and what looks as if it did. */
const PIECES = [
  '(', ')', '[', ']', '{', '}', '"', '\\(', '\\)', '\\', '+', '-', '++', '--', '1.5', '-1', '1e9', '0', '.', ',', ':', ':1.3)', '(a:', '(red fox)1.2', '(red fox:1.5)', 'fox++',
  '.and(', '.blend(', '.swap(', '.attend(', '("a", "b").blend(1, -1)', '("a fox", "b").and()', 'cat.swap(dog, s_start=0.1)', 'withLora(a, 1)', 'BREAK', ' BREAK ', ' AND ',
  'a red fox', 'style', '<cat-toy>', '<|endoftext|>', '<|startoftext|>', '__BLANK__', ' ', '\n', '\t', 'é', 'e\u0301', '\u0300', '🦊', '👩‍👩‍👧', 'שלום', '각', 'ﷺ', 'İ', 'Σ', '\u200b', '\ufeff', '\0',
  '\u{10ffff}', '\ue000', '\uf8ff', 'x'.repeat(60), '$&', '\\t', '\\"', 'and', '.', '"', "'s", '９', '①',
]; // prettier-ignore

/** The longest that a request may hold, in characters. */
const LONGEST = 3000;

function anyPrompt(random: Random): string {
  const some = Array.from({ length: 1 + random.int(12) }, () => random.pick(PIECES)).join(random.pick(['', ' ', ' ']));
  const repeated = random.chance(0.25) ? some.repeat(1 + random.int(1 + Math.floor(LONGEST / some.length))) : some;
  const text = random.chance(0.2) ? mutateText(repeated, random) : repeated;
  // As the request's check leaves it: no halves of characters, 2 to 3000 of them.
  return [...text.replace(/\p{Surrogate}/gu, '')].slice(0, LONGEST).join('').padEnd(2);
}

const EMBEDDINGS: readonly Triggered[] = [
  { name: 'toy', triggers: ['<cat-toy>'], weight: 1 },
  { name: 'style', triggers: ['style', 'a style'], weight: -0.5 },
  { name: 'none', triggers: [], weight: 2 },
  { name: 'odd', triggers: ['(fox)', '\\', 'é'], weight: 1 },
];

export function promptsTarget(golden: Golden): Target {
  const folder = 'models/sdxl-tiny/tokenizer';
  const files = golden.list(folder).map((name) => [`t/${name}`, golden.read(`${folder}/${name}`)] as const);
  const made = readTokenizerFiles(memoryTree('m', Object.fromEntries(files)), 't').then(createClipTokenizer);
  made.catch(() => undefined); // said when it is used
  return {
    kind: 'prompts',
    limitMs: 4_000,
    async run(random) {
      const tokenizer = await made;
      const [positive, negative] = [anyPrompt(random), random.chance(0.5) ? anyPrompt(random) : undefined];
      const embeddings = EMBEDDINGS.filter(() => random.chance(0.2));
      const counts = embeddings.map((_, i) => 1 + 3 * i);
      const weighting = random.pick(['none', 'compel', 'sdEmbeds'] as const);
      return judge(
        () => {
          const marked = markTriggers({ positive, negative }, embeddings);
          const own = withMarks(tokenizer, marked, counts);
          return planPrompt({
            positive: marked.positive.text,
            negative: marked.negative?.text,
            suffixes: { positive: marked.positive.suffix, negative: marked.negative?.suffix },
            weighting: weighting === 'none' ? undefined : weighting,
            tokenizers: random.chance(0.3) ? [own, own] : [own],
            pooled: random.chance(0.5),
          });
        },
        (plan) => {
          const size = tokenizer.size + counts.reduce((sum, count) => sum + count, 0);
          checkPlan(plan, size, tokenizer, () => JSON.stringify([weighting, positive, negative]).slice(0, 600));
        },
      );
    },
  };
}

interface Ends {
  readonly bos: number;
  readonly eos: number;
}

function checkPlan(plan: PromptPlan, size: number, { bos, eos }: Ends, shown: () => string): void {
  const { calls, tokens, positive, negative } = plan;
  must(calls.length >= 1 && calls.length <= 3000, () => `${calls.length} calls of ${shown()}`);
  for (const { ids, mask } of calls) {
    const row = [...ids];
    must(ids.length === 77 && row.every((id) => id >= 0 && id < size), () => `ids ${row.join()} of ${shown()}`);
    must(row[0] === bos && row.includes(eos, 1), () => `a row without begin and end of ${shown()}`);
    must(mask === undefined || mask.length === 77, () => `a mask of ${mask?.length}`);
  }
  must(tokens % 77 === 0 && tokens >= 77, () => `${tokens} tokens of ${shown()}`);
  for (const side of negative === undefined ? [positive] : [positive, negative]) checkSide(side, plan, shown);
}

function checkSide({ encoders, pooled }: SidePlan, { calls, tokens }: PromptPlan, shown: () => string): void {
  const isCall = (index: number | undefined): boolean => index === undefined || calls[index] !== undefined;
  must(isCall(pooled), () => `pooled by call ${pooled}`);
  for (const { clauses, empty, fill } of encoders) {
    must(isCall(empty) && fill >= 0, () => `filled ${fill} times with call ${empty}`);
    const lengths = clauses.map(({ parts }) => Math.max(0, ...parts.map(({ chunks }) => chunks.length)));
    const length = 77 * lengths.reduce((sum, count) => sum + count, fill);
    must(length === tokens, () => `${length} rows for ${tokens} tokens of ${shown()}`);
    for (const { parts, strength } of clauses) {
      must(Number.isFinite(strength), () => `strength ${strength} of ${shown()}`);
      for (const { chunks, share } of parts) {
        must(Number.isFinite(share), () => `share ${share} of ${shown()}`);
        for (const { terms, weights } of chunks) {
          must(terms.every((term) => isCall(term.call) && Number.isFinite(term.share)), () => `terms of ${shown()}`); // prettier-ignore
          must(weights === undefined || (weights.length === 77 && weights.every(Number.isFinite)), () => `weights ${weights?.join()} of ${shown()}`); // prettier-ignore
        }
      }
    }
  }
}
