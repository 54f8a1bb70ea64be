/** @file Prompts → a plan: which rows the text encoders run on, and the weights. Knows the dialects, no network. */
import { promptText, toRow } from './chunks.js';
import type { ClipTokenizer } from './clip-tokenizer.js';
import { planCompel } from './compel-plan.js';
import { parseCompel, type CompelClause, type CompelPrompt, type Fragment } from './compel.js';
import { checkWeight, quote, type PromptField } from './prompt-error.js';
import {
  chunkCount,
  tokenWeights,
  type CallIndex,
  type ChunkPlan,
  type Clause,
  type EncoderCall,
  type EncoderPlan,
  type Planner,
  type PromptPlan,
  type SidePlan,
} from './prompt-plan.js';
import { parseSdEmbeds } from './sd-embeds.js';

export interface PromptOptions {
  readonly positive: string;
  /** Leave it out where guidance is off; then the plan has no negative side. `''` and `__BLANK__` are the empty prompt. */
  readonly negative?: string | undefined;
  /** Text after each prompt that is outside its syntax and weighs 1; of several prompts in one, all get it, of clauses the last. */
  readonly suffixes?: { readonly positive?: string | undefined; readonly negative?: string | undefined } | undefined;
  /** Default: none, brackets are text. */
  readonly weighting?: 'compel' | 'sdEmbeds' | undefined;
  /** One per text encoder, in the order of their states side by side: one, or SDXL's two. */
  readonly tokenizers: readonly ClipTokenizer[];
  /** Whether the last encoder's pooled vector is wanted, as for SDXL. Default false. */
  readonly pooled?: boolean;
}

/** A prompt that has been parsed: the same for all encoders. */
interface Dialect {
  readonly origin: 'zero' | 'empty';
  readonly clauses: (planner: Planner) => readonly Clause[];
  /** The empty prompt's row. */
  readonly empty: (tokenizer: ClipTokenizer) => Int32Array;
  /** The row whose pooled vector counts. */
  readonly pooled: (tokenizer: ClipTokenizer) => Int32Array;
}

/**
 * Plans both sides, which get the same number of chunks, e.g. `planPrompt({ positive: 'a cat', negative: '', tokenizers })`.
 * Without weighting and for `sdEmbeds` a prompt is cut every 75 ids; for `compel` after the last sentence, phrase or word before.
 * @throws invalidPositivePrompt, invalidNegativePrompt
 */
export function planPrompt(options: PromptOptions): PromptPlan {
  const { positive, negative, suffixes = {}, weighting, tokenizers, pooled = false } = options;
  const book = createCallBook();
  const read = DIALECTS[weighting ?? 'none'];
  const sides = [
    read(promptText(positive), suffixes.positive ?? '', 'positivePrompt'),
    ...(negative === undefined ? [] : [read(promptText(negative), suffixes.negative ?? '', 'negativePrompt')]),
  ].map((dialect) => ({
    dialect,
    clauses: tokenizers.map((tokenizer, encoder) => dialect.clauses({ tokenizer, add: book.adder(encoder) })),
  }));
  const chunks = Math.max(...sides.flatMap(({ clauses }) => clauses.map(chunkCount)));

  const finished = sides.map(({ dialect, clauses }): SidePlan => {
    const encoders = tokenizers.map((tokenizer, encoder): EncoderPlan => {
      const own = clauses[encoder] ?? [];
      const plan = { clauses: own, origin: dialect.origin, fill: chunks - chunkCount(own) };
      return needsEmpty(plan) ? { ...plan, empty: book.adder(encoder)(dialect.empty(tokenizer)) } : plan;
    });
    const last = tokenizers.at(-1);
    if (!pooled || last === undefined) return { encoders };
    return { encoders, pooled: book.adder(tokenizers.length - 1)(dialect.pooled(last)) };
  });
  const [first = { encoders: [] }, second] = finished;
  return {
    calls: book.calls,
    positive: first,
    ...(second === undefined ? {} : { negative: second }),
    tokens: chunks * (tokenizers[0]?.length ?? 0),
  };
}

/** Whether a formula reads the empty prompt's states: to fill up, to fade a clause, or as the origin of weights. */
function needsEmpty({ clauses, origin, fill }: EncoderPlan): boolean {
  return (
    fill > 0 ||
    clauses.some(
      ({ parts, strength }) =>
        strength !== 1 ||
        parts.some(({ chunks }) => chunks.length !== parts[0]?.chunks.length) ||
        (origin === 'empty' && parts.some(({ chunks }) => chunks.some(({ weights }) => weights !== undefined))),
    )
  );
}

/** Numbers distinct calls in the order in which they are first asked for. */
function createCallBook(): {
  readonly calls: readonly EncoderCall[];
  readonly adder: (encoder: number) => Planner['add'];
} {
  const calls: EncoderCall[] = [];
  const known = new Map<string, CallIndex>();
  return {
    calls,
    adder: (encoder) => (ids, mask) => {
      const key = `${encoder}/${ids.join()}/${mask?.join('') ?? ''}`;
      const index = known.get(key) ?? calls.length;
      if (index === calls.length) {
        known.set(key, index);
        calls.push({ encoder, ids, ...(mask === undefined ? {} : { mask }) });
      }
      return index;
    },
  };
}

const DIALECTS = { none: readPlain, compel: readCompel, sdEmbeds: readSdEmbeds } as const;

function readPlain(text: string, suffix: string): Dialect {
  const rows = ({ tokenizer }: Pick<Planner, 'tokenizer'>): readonly Int32Array[] =>
    cut(tokenizer.encode(withSuffix(text, suffix)), tokenizer).map(({ ids }) => toRow(ids, tokenizer));
  return {
    origin: 'zero',
    clauses: (planner) => [oneClause(rows(planner).map((row) => ({ terms: [{ call: planner.add(row), share: 1 }] })))],
    empty: (tokenizer) => toRow([], tokenizer),
    pooled: (tokenizer) => rows({ tokenizer })[0] ?? toRow([], tokenizer),
  };
}

/** The hidden states times the weights. As in sd_embed, padding is the end token, whatever the tokenizer pads with. */
function readSdEmbeds(text: string, suffix: string, field: PromptField): Dialect {
  const fragments = [...parseSdEmbeds(text, field), ...suffixFragments(suffix)];
  for (const { text, weight } of fragments) checkWeight(field, weight, quote(text));
  const row = (ids: readonly number[], tokenizer: ClipTokenizer): Int32Array =>
    toRow(ids, { ...tokenizer, pad: tokenizer.eos });
  const chunks = (tokenizer: ClipTokenizer): readonly Chunk[] => {
    const parts = fragments.map(({ text, weight }) => ({ ids: tokenizer.encode(text), weight }));
    const weights = parts.flatMap(({ ids, weight }) => ids.map(() => weight));
    return cut(
      parts.flatMap(({ ids }) => ids),
      tokenizer,
      weights,
    );
  };
  return {
    origin: 'zero',
    clauses: ({ tokenizer, add }) => [
      oneClause(
        chunks(tokenizer).map(({ ids, weights }) => ({
          terms: [{ call: add(row(ids, tokenizer)), share: 1 }],
          ...tokenWeights(weights, tokenizer.length),
        })),
      ),
    ],
    empty: (tokenizer) => row([], tokenizer),
    pooled: (tokenizer) => row(chunks(tokenizer)[0]?.ids ?? [], tokenizer),
  };
}

/** See {@link planCompel}. The pooled vector is that of the text as it was written, its operators too, cut at 75 ids. */
function readCompel(text: string, suffix: string, field: PromptField): Dialect {
  const prompt = appendToLast(parseCompel(text, field), suffixFragments(suffix));
  return {
    origin: 'empty',
    clauses: (planner) => planCompel(prompt, planner, field),
    empty: (tokenizer) => toRow([], tokenizer),
    pooled: (tokenizer) => toRow(tokenizer.encode(withSuffix(text, suffix)).slice(0, tokenizer.length - 2), tokenizer),
  };
}

function withSuffix(text: string, suffix: string): string {
  return [text, suffix].filter(Boolean).join(' ');
}

function suffixFragments(suffix: string): readonly Fragment[] {
  return suffix === '' ? [] : [{ text: suffix, weight: 1 }];
}

/** The prompt with more at the end of its last clause; of a blend, at the end of each of its prompts. */
function appendToLast({ clauses, weights }: CompelPrompt, more: readonly Fragment[]): CompelPrompt {
  const last = clauses.length - 1;
  const append = (clause: CompelClause): CompelClause =>
    clause.kind === 'fragments'
      ? { ...clause, fragments: [...clause.fragments, ...more] }
      : { ...clause, prompts: clause.prompts.map((fragments) => [...fragments, ...more]) };
  return { clauses: clauses.map((clause, i) => (i === last ? append(clause) : clause)), weights };
}

function oneClause(chunks: readonly ChunkPlan[]): Clause {
  return { parts: [{ chunks, share: 1 }], strength: 1 };
}

/** Ids of one row, without begin and end, and their weights. */
interface Chunk {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

/** Every 75 ids; at least one chunk. */
function cut(ids: readonly number[], { length }: ClipTokenizer, weights: readonly number[] = []): readonly Chunk[] {
  const size = length - 2;
  return Array.from({ length: Math.max(1, Math.ceil(ids.length / size)) }, (_, i) => ({
    ids: ids.slice(i * size, (i + 1) * size),
    weights: weights.slice(i * size, (i + 1) * size),
  }));
}
