/** @file Follows a prompt's plan: the text encoders' results → what cross-attention reads. */
import { concatFloats } from '../base/arrays.js';
import { assert } from '../base/errors.js';
import {
  clauseLength,
  type CallIndex,
  type ChunkPlan,
  type Clause,
  type EncoderPlan,
  type PromptPlan,
  type SidePlan,
} from './prompt-plan.js';

/** What the encoder gave for one call. */
export interface CallResult {
  /** Hidden states `[77, D]` for the positive prompt, D being the encoder's width; at the request's clipSkip. */
  readonly positive: Float32Array;
  /** The same for the negative prompt; at clipSkip 0. */
  readonly negative: Float32Array;
  /** The pooled (projected) vector, of the encoder that has one. */
  readonly pooled?: Float32Array | undefined;
}

export interface SideStates {
  /** `[tokens, ΣD]`, the encoders' states side by side. */
  readonly states: Float32Array;
  readonly pooled?: Float32Array;
}

export interface PromptStates {
  readonly positive: SideStates;
  /** Absent where the plan has no negative side. */
  readonly negative?: SideStates;
  /** Rows of states on each side. */
  readonly tokens: number;
}

/**
 * The states of both sides.
 * @param results one per call of the plan, in its order
 */
export function combine(plan: PromptPlan, results: readonly CallResult[]): PromptStates {
  const resultOf = (call: CallIndex): CallResult => known(results[call], `a result of the text encoder's call ${call}`);
  const side = (own: SidePlan, name: 'positive' | 'negative'): SideStates => {
    const columns = own.encoders.map((encoder) => encoderStates(encoder, (call) => resultOf(call)[name]));
    const states = sideBySide(columns, plan.tokens);
    return own.pooled === undefined
      ? { states }
      : { states, pooled: known(resultOf(own.pooled).pooled, `the pooled vector of call ${own.pooled}`) };
  };
  return {
    positive: side(plan.positive, 'positive'),
    ...(plan.negative === undefined ? {} : { negative: side(plan.negative, 'negative') }),
    tokens: plan.tokens,
  };
}

function known<T>(value: T | undefined, what: string): T {
  assert(value !== undefined, `combining a prompt's states needs ${what}`);
  return value;
}

/** Where the states of one encoder come from. */
interface Sources {
  readonly statesOf: (call: CallIndex) => Float32Array;
  /** The empty prompt's states. */
  readonly empty: () => Float32Array;
  readonly origin: EncoderPlan['origin'];
}

/** One encoder's states `[tokens, D]`. */
function encoderStates(plan: EncoderPlan, statesOf: Sources['statesOf']): Float32Array {
  const empty = (): Float32Array => statesOf(known(plan.empty, 'the empty prompt'));
  const chunks = plan.clauses.flatMap((clause) => clauseStates(clause, { statesOf, empty, origin: plan.origin }));
  for (let i = 0; i < plan.fill; i++) chunks.push(empty());
  return concatFloats(chunks);
}

/** empty + (Σ share·part − empty)·strength, chunk by chunk. */
function clauseStates(clause: Clause, sources: Sources): Float32Array[] {
  const { parts, strength } = clause;
  return Array.from({ length: clauseLength(clause) }, (_, i) => {
    const blended = weightedSum(
      parts.map(({ chunks, share }) => {
        const chunk = chunks[i];
        return { share, states: chunk === undefined ? sources.empty() : chunkStates(chunk, sources) };
      }),
    );
    return strength === 1 ? blended : scaleFrom(sources.empty(), blended, () => strength);
  });
}

/** Σ share·z, then each token's distance from the origin times its weight. */
function chunkStates({ terms, weights }: ChunkPlan, { statesOf, empty, origin }: Sources): Float32Array {
  const mean = weightedSum(terms.map(({ call, share }) => ({ share, states: statesOf(call) })));
  if (weights === undefined) return mean;
  const width = mean.length / weights.length;
  return scaleFrom(origin === 'empty' ? empty() : undefined, mean, (i) => weights[Math.floor(i / width)] ?? 1);
}

/** Σ share·states; the very array where it is one state alone. */
function weightedSum(terms: readonly { readonly share: number; readonly states: Float32Array }[]): Float32Array {
  const [first] = terms;
  if (first?.share === 1 && terms.length === 1) return first.states;
  const sum = new Float64Array(first?.states.length ?? 0);
  for (const { share, states } of terms) {
    assert(states.length === sum.length, `states of ${states.length} and ${sum.length} numbers are combined`);
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + share * (states[i] ?? 0);
  }
  return Float32Array.from(sum);
}

/** o + (z − o)·w, where `origin` is absent z·w; z itself, to the bit, where w = 1. */
function scaleFrom(
  origin: Float32Array | undefined,
  states: Float32Array,
  weightAt: (i: number) => number,
): Float32Array {
  return states.map((z, i) => {
    const weight = weightAt(i);
    const o = origin?.[i] ?? 0;
    return weight === 1 ? z : o + (z - o) * weight;
  });
}

/** `[rows, D₀]`, `[rows, D₁]` → `[rows, D₀ + D₁]`. */
function sideBySide(columns: readonly Float32Array[], rows: number): Float32Array {
  const [only] = columns;
  if (only !== undefined && columns.length === 1) return only;
  const widths = columns.map(({ length }) => length / rows);
  const total = widths.reduce((sum, width) => sum + width, 0);
  const out = new Float32Array(rows * total);
  let left = 0;
  columns.forEach((column, c) => {
    const width = widths[c] ?? 0;
    assert(Number.isInteger(width), `states of ${column.length} numbers are not ${rows} rows`);
    for (let row = 0; row < rows; row++) out.set(column.subarray(row * width, (row + 1) * width), row * total + left);
    left += width;
  });
  return out;
}
