/**
 * @file What the text encoders must be run on for a prompt, and how their results become what cross-attention reads; as data, so
 * that it can be looked at and tested without a network. `weighted.ts` makes it, `combine.ts` follows it.
 */

import type { ClipTokenizer } from './clip-tokenizer.js';

/** One run of one text encoder. Equal runs are one call. */
export interface EncoderCall {
  /** Index of the encoder: 0, or 1 for SDXL's second. */
  readonly encoder: number;
  /** `[77]`: begin, up to 75 ids, end, padding. */
  readonly ids: Int32Array;
  /** `[77]`: 0 hides a token from the attention of all others, 1 does not. Absent: nothing is hidden. */
  readonly mask?: Uint8Array;
}

/** The index of a call in {@link PromptPlan.calls}. */
export type CallIndex = number;

/** 77 rows of states: z = Σ share·result, then each row's distance from the origin times its weight. */
export interface ChunkPlan {
  /** Shares sum to 1. The first is the call with nothing hidden. */
  readonly terms: readonly [Term, ...Term[]];
  /** `[77]`; absent: all 1. */
  readonly weights?: Float64Array;
}

export interface Term {
  readonly call: CallIndex;
  readonly share: number;
}

/** Chunks in a row, multiplied by `share` and added to the clause's others; shorter ones are filled up with the empty prompt. */
export interface BlendPart {
  readonly chunks: readonly ChunkPlan[];
  readonly share: number;
}

/** empty + (Σ parts − empty)·strength. */
export interface Clause {
  readonly parts: readonly BlendPart[];
  readonly strength: number;
}

/** The states of one side by one encoder: clauses one after the other, then the empty prompt up to the plan's length. */
export interface EncoderPlan {
  readonly clauses: readonly Clause[];
  /** What token weights scale the distance from: nothing (the states themselves), or the empty prompt's states. */
  readonly origin: 'zero' | 'empty';
  /** The empty prompt. Absent where no formula needs it. */
  readonly empty?: CallIndex;
  /** How many chunks of the empty prompt follow. */
  readonly fill: number;
}

/** One side of guidance. */
export interface SidePlan {
  readonly encoders: readonly EncoderPlan[];
  /** The call whose pooled vector belongs to this side; of the last encoder. Absent unless asked for. */
  readonly pooled?: CallIndex;
}

export interface PromptPlan {
  readonly calls: readonly EncoderCall[];
  readonly positive: SidePlan;
  /** Absent where there was no negative prompt. */
  readonly negative?: SidePlan;
  /** Rows of states on each side: 77 per chunk. */
  readonly tokens: number;
}

/** Makes the plan of one text encoder: its tokenizer, and the book of its calls. */
export interface Planner {
  readonly tokenizer: ClipTokenizer;
  /** The index of the call, a new one or that of an equal one. */
  readonly add: (ids: Int32Array, mask?: Uint8Array) => CallIndex;
}

/** Weights of a row's ids as {@link ChunkPlan.weights}: begin, end and padding weigh 1. */
export function tokenWeights(weights: readonly number[], length: number): { readonly weights?: Float64Array } {
  if (weights.every((weight) => weight === 1)) return {};
  const row = new Float64Array(length).fill(1);
  row.set(weights, 1);
  return { weights: row };
}

/** How many chunks a clause has. */
export function clauseLength({ parts }: Clause): number {
  return Math.max(...parts.map(({ chunks }) => chunks.length));
}

/** How many chunks an encoder's clauses have together, before filling up. */
export function chunkCount(clauses: readonly Clause[]): number {
  return clauses.reduce((sum, clause) => sum + clauseLength(clause), 0);
}

/** The ids that a side's states stand for, `[77 × chunks]`; of a blend, those of its first prompt. */
export function promptIds({ calls }: PromptPlan, side: SidePlan, encoder: number): Int32Array {
  const { clauses = [], empty, fill = 0 } = side.encoders[encoder] ?? {};
  const spoken = clauses.flatMap(({ parts }) => parts[0]?.chunks.map(({ terms }) => terms[0].call) ?? []);
  const all = [...spoken, ...(empty === undefined ? [] : Array<CallIndex>(fill).fill(empty))];
  return Int32Array.from(all.flatMap((call) => [...(calls[call]?.ids ?? [])]));
}

/** Whether both sides say the same: then guidance changes nothing, as long as both are read at the same clipSkip. */
export function sidesAlike({ positive, negative }: PromptPlan): boolean {
  return negative !== undefined && JSON.stringify(positive) === JSON.stringify(negative);
}
