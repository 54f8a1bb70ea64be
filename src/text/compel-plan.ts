/**
 * @file compel's weights as a plan: what its `EmbeddingsProvider` (github.com/damian0815/compel, v2.5.1, embeddings_provider.py)
 * computes, in formulas. A weight w moves a token's state z away from that of the empty prompt e, to e + (z − e)·w. A weight below 1
 * also mixes in the prompt encoded without the fragment (hidden from attention), the more the closer w is to 0.
 */
import { toRow } from './chunks.js';
import type { ClipTokenizer } from './clip-tokenizer.js';
import type { CompelClause, CompelPrompt, Fragment } from './compel.js';
import { checkWeight, promptError, quote, type PromptField } from './prompt-error.js';
import { tokenWeights, type BlendPart, type ChunkPlan, type Clause, type Planner, type Term } from './prompt-plan.js';

/** @throws invalidPositivePrompt, invalidNegativePrompt: a weight that overflows, blend weights whose sum is 0 */
export function planCompel(prompt: CompelPrompt, planner: Planner, field: PromptField): readonly Clause[] {
  return prompt.clauses.map((clause, i) => {
    const strength = prompt.weights[i] ?? 1;
    checkWeight(field, strength, `clause ${i + 1} of .and()`);
    return { parts: planClause(clause, planner, field), strength };
  });
}

function planClause(clause: CompelClause, planner: Planner, field: PromptField): readonly BlendPart[] {
  switch (clause.kind) {
    case 'fragments':
      return [{ chunks: planFragments(clause.fragments, planner, field), share: 1 }];
    case 'blend': {
      const sum = clause.normalize ? sumOf(clause.weights, field) : 1;
      return clause.prompts.map((fragments, i) => {
        const weight = clause.weights[i] ?? 0;
        checkWeight(field, weight, `prompt ${i + 1} of .blend()`);
        return { chunks: planFragments(fragments, planner, field), share: weight / sum };
      });
    }
    default:
      return clause satisfies never;
  }
}

function sumOf(weights: readonly number[], field: PromptField): number {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const size = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  if (Math.abs(sum) > 1e-6 * size) return sum;
  throw promptError(
    field,
    `the weights of .blend() are divided by their sum, and that of ${weights.join(', ')} is 0.`,
    {
      hint: 'End them with no_normalize, or change one.',
    },
  );
}

/** Fragments are tokenised one by one; where one ends, a word ends. */
function planFragments(fragments: readonly Fragment[], planner: Planner, field: PromptField): readonly ChunkPlan[] {
  const { tokenizer, add } = planner;
  const ids: number[] = [];
  const weights: number[] = [];
  const weak: Weak[] = [];
  for (const fragment of fragments) {
    checkWeight(field, fragment.weight, quote(fragment.text));
    const own = tokenizer.encode(fragment.text);
    if (fragment.weight < 1 && own.length > 0)
      weak.push({ from: ids.length, to: ids.length + own.length, strength: absence(fragment.weight) });
    for (const id of own) {
      ids.push(id);
      weights.push(fragment.weight);
    }
  }

  const spans = cutAtSentences(ids, tokenizer);
  const total = weak.reduce((sum, { strength }) => sum + strength, 1);
  return spans.map((span) => {
    const row = toRow(ids.slice(span.from, span.to), tokenizer);
    const touching = weak.filter(({ from, to }) => from < span.to && span.from < to);
    const hidden = touching.map((fragment): Term => {
      const mask = maskOf(fragment, span, tokenizer.length);
      return { call: add(row, mask), share: fragment.strength / total };
    });
    // where a fragment is not in this chunk, hiding it changes nothing
    const here = touching.reduce((sum, { strength }) => sum + strength, 0);
    return {
      terms: [{ call: add(row), share: (total - here) / total }, ...hidden],
      ...tokenWeights(weights.slice(span.from, span.to), tokenizer.length),
    };
  });
}

/** Ids from … to − 1 of a prompt. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** A fragment with a weight below 1. */
interface Weak extends Span {
  readonly strength: number;
}

/** How strongly the prompt without the fragment counts, the whole prompt being 1: 0 at w = 1, 1 at ½, towards ∞ at 0. */
function absence(weight: number): number {
  return Math.tan(((1 - Math.max(1e-5, weight)) * Math.PI) / 2);
}

/**
 * Hides a fragment's tokens. One that goes on in the next chunk hides all to the end of this one, an early end token and the padding
 * after it too; the first and the last place of a chunk are never hidden.
 */
function maskOf(fragment: Span, chunk: Span, length: number): Uint8Array {
  const start = fragment.from < chunk.from ? 1 : 1 + fragment.from - chunk.from;
  const end = fragment.to > chunk.to ? length - 1 : Math.min(1 + fragment.to - chunk.from, length - 1);
  return new Uint8Array(length).fill(1).fill(0, start, end);
}

const SENTENCE_MARKS = ['.'];
const PHRASE_MARKS = ['.', ',', ';', ':'];

/** Chunks of up to 75 ids: while more are left, up to the last full stop in 75, or else the last phrase, or word, or all 75. */
function cutAtSentences(ids: readonly number[], tokenizer: ClipTokenizer): readonly Span[] {
  const size = tokenizer.length - 2;
  const idsOf = (marks: readonly string[]): ReadonlySet<number> =>
    new Set(marks.flatMap((mark) => tokenizer.encode(mark)));
  const [sentence, phrase] = [idsOf(SENTENCE_MARKS), idsOf(PHRASE_MARKS)];
  const spans: Span[] = [];
  let from = 0;
  do {
    const window = ids.slice(from, from + size);
    const lastOf = (ends: (id: number) => boolean): number => window.findLastIndex(ends) + 1;
    const to =
      ids.length - from <= size
        ? ids.length
        : from +
          (lastOf((id) => sentence.has(id)) ||
            lastOf((id) => phrase.has(id)) ||
            lastOf((id) => tokenizer.endsWord(id)) ||
            size);
    spans.push({ from, to });
    from = to;
  } while (from < ids.length);
  return spans;
}
