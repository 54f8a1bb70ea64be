/**
 * @file The goldens of prompt weighting: what compel's and sd_embed's syntax is read as, the rows that the text encoders get, and what
 * becomes of their stored results. No network runs; `sd15Truncated` (compel's other mode) and clipSkip ≥ 1 are not looked at.
 */
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { DarkroomError } from '../../src/base/errors.js';
import { createClipTokenizer, type ClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { combine, type CallResult } from '../../src/text/combine.js';
import { parseCompel, type Fragment } from '../../src/text/compel.js';
import { promptIds, type EncoderCall, type PromptPlan } from '../../src/text/prompt-plan.js';
import { parseSdEmbeds } from '../../src/text/sd-embeds.js';
import { planPrompt } from '../../src/text/weighted.js';
import { readGoldenJson, readTensors, type GoldenFolder } from './files.js';
import { compare, outcomeOf, type Comparison, type Outcome } from './report.js';
import type { Tolerance } from './tolerances.js';

const EXACT: Tolerance = { absolute: 0, relative: 0 };
/** Weights are products of a few decimals. */
const WEIGHTS: Tolerance = { absolute: 1e-12, relative: 0 };
/** Sums of float32, from the encoders' stored results. */
const STATES: Tolerance = { absolute: 1e-5, relative: 0 };

/** The tokenizers' files do not say it. */
const PADDING: Readonly<Record<string, string>> = { 'encoder-1': '<|endoftext|>', 'encoder-2': '!' };

type Family = 'sd15' | 'sdxl';
type Pair = readonly [text: string, weight: number];

/** Names of tensors, and the indices of the calls that the original made. */
interface Encoded {
  readonly embeds: string;
  readonly negativeEmbeds?: string;
  readonly pooled?: string;
  readonly negativePooled?: string;
  readonly pooledOfEachChunk?: string;
  readonly calls: readonly number[];
}

interface CompelGolden {
  readonly text: string;
  readonly negative?: string;
  readonly parsed: {
    readonly error?: string;
    readonly conjunction?: readonly {
      readonly fragments?: readonly Pair[];
      readonly blend?: readonly (readonly Pair[])[];
      readonly weights?: readonly number[];
      readonly normalize?: boolean;
    }[];
    readonly weights?: readonly number[];
  };
  readonly error?: string;
  readonly sd15?: Encoded;
  readonly sdxl?: Encoded;
}

interface SdEmbedsGolden {
  readonly text: string;
  readonly error?: string;
  readonly fragments?: readonly Pair[];
  readonly chunks?: readonly { readonly ids: readonly number[]; readonly weights: readonly number[] }[];
  readonly sd15?: Encoded;
  readonly sdxl?: Encoded;
}

interface PlainFamily {
  readonly clipSkip: Readonly<Record<string, { readonly embeds: string; readonly negativeEmbeds: string }>>;
  /** Encoder → positive and negative rows. */
  readonly chunks: Readonly<Record<string, readonly (readonly (readonly number[])[])[]>>;
  readonly pooled?: string;
  readonly negativePooled?: string;
  readonly calls: readonly number[];
}

interface PlainGolden {
  readonly text: string;
  readonly negative: string;
  readonly sd15?: PlainFamily;
  readonly sdxl?: PlainFamily;
}

interface Goldens {
  readonly compel: readonly CompelGolden[];
  readonly sdEmbeds: readonly SdEmbedsGolden[];
  readonly plain: readonly PlainGolden[];
  readonly encoders: readonly string[];
  readonly tokenizers: Readonly<Record<string, string>>;
  readonly calls: readonly {
    readonly encoder: string;
    readonly ids: readonly number[];
    readonly mask: readonly number[] | null;
  }[];
}

interface Bench {
  readonly goldens: Goldens;
  readonly tensors: ReadonlyMap<string, Float64Array>;
  readonly tokenizers: readonly ClipTokenizer[];
  /** A call's content → its index. */
  readonly callIndex: ReadonlyMap<string, number>;
}

/** The kinds of prompt, each an {@link Outcome}. */
export const WEIGHT_KINDS = ['compel', 'sdEmbeds', 'plain'] as const;

/** Checks every prompt of the wanted kinds. */
export async function runWeights(
  folder: GoldenFolder,
  kinds: readonly (typeof WEIGHT_KINDS)[number][] = WEIGHT_KINDS,
): Promise<readonly Outcome[]> {
  const bench = await openBench(folder);
  const { goldens } = bench;
  return kinds.map((kind) => {
    const start = performance.now();
    const comparisons = {
      compel: () => goldens.compel.flatMap((golden, i) => checkCompel(bench, golden, label(i, golden.text))),
      sdEmbeds: () => goldens.sdEmbeds.flatMap((golden, i) => checkSdEmbeds(bench, golden, label(i, golden.text))),
      plain: () => goldens.plain.flatMap((golden, i) => checkPlain(bench, golden, label(i, golden.text))),
    }[kind]();
    return outcomeOf('weights', kind, comparisons, start);
  });
}

async function openBench(folder: GoldenFolder): Promise<Bench> {
  const goldens = (await readGoldenJson(folder, 'weights/prompts.json')) as Goldens; // our own test data
  const tokenizers: ClipTokenizer[] = [];
  for (const encoder of goldens.encoders) {
    const [root = '', name = ''] = goldens.tokenizers[encoder]?.split('/') ?? [];
    const files = await readTokenizerFiles(folder.tree(root), name);
    tokenizers.push(createClipTokenizer({ ...files, config: { pad_token: PADDING[encoder] } }));
  }
  const keys = goldens.calls.map(({ encoder, ids, mask }, i) => {
    const index = goldens.encoders.indexOf(encoder);
    return [callKey({ encoder: index, ids, ...(mask === null ? {} : { mask }) }), i] as const;
  });
  const tensors = await readTensors(folder, 'weights/tensors.safetensors');
  return { goldens, tensors, tokenizers, callIndex: new Map(keys) };
}

function label(i: number, text: string): string {
  return `prompt ${i} ${JSON.stringify(text.slice(0, 40))}`;
}

function checkCompel(bench: Bench, golden: CompelGolden, name: string): readonly Comparison[] {
  const { parsed, error, text, negative } = golden;
  if (parsed.error !== undefined || error !== undefined) return [mustRefuse(name, () => parseCompel(text))];
  const got = parseCompel(text);
  const clauses = got.clauses.map((clause) =>
    clause.kind === 'fragments'
      ? { fragments: pairs(clause.fragments) }
      : { blend: clause.prompts.map(pairs), weights: clause.weights, normalize: clause.normalize },
  );
  return [
    ...compareParsed(name, { conjunction: clauses, weights: got.weights }, parsed),
    ...(['sd15', 'sdxl'] as const).flatMap((family) => {
      const encoded = golden[family];
      if (encoded === undefined) return [];
      const plan = planFor(bench, family, { positive: text, negative, weighting: 'compel' });
      return compareStates(bench, `${name} ${family}`, plan, encoded, family);
    }),
  ];
}

function checkSdEmbeds(bench: Bench, golden: SdEmbedsGolden, name: string): readonly Comparison[] {
  const { text, error, fragments, chunks } = golden;
  if (error !== undefined) return [mustRefuse(name, () => parseSdEmbeds(text))];
  const out = [...compareParsed(name, pairs(parseSdEmbeds(text)), fragments)];
  for (const family of ['sd15', 'sdxl'] as const) {
    const encoded = golden[family];
    if (encoded === undefined) continue;
    const plan = planFor(bench, family, { positive: text, weighting: 'sdEmbeds' });
    if (chunks !== undefined) {
      const ids = chunks.flatMap((chunk) => chunk.ids);
      const weights = chunks.flatMap((chunk) => chunk.weights);
      const own = plan.positive.encoders[0]?.clauses.flatMap(({ parts }) => parts.flatMap((part) => part.chunks)) ?? [];
      const ownWeights = own.flatMap((chunk) => [...(chunk.weights ?? Array<number>(77).fill(1))]);
      out.push(compare(`${name} ${family}: ids`, promptIds(plan, plan.positive, 0), ids, EXACT));
      out.push(compare(`${name} ${family}: weights`, ownWeights, weights, WEIGHTS));
    }
    out.push(...compareStates(bench, `${name} ${family}`, plan, encoded, family));
  }
  return out;
}

function checkPlain(bench: Bench, golden: PlainGolden, name: string): readonly Comparison[] {
  return (['sd15', 'sdxl'] as const).flatMap((family) => {
    const own = golden[family];
    if (own === undefined) return [];
    const plan = planFor(bench, family, { positive: golden.text, negative: golden.negative });
    const rows = Object.values(own.chunks).flatMap((sides, encoder) =>
      sides.map((side, i) => {
        const ids = side.flat();
        const got = promptIds(plan, i === 0 ? plan.positive : (plan.negative ?? { encoders: [] }), encoder);
        return compare(`${name} ${family}: ids ${encoder}/${i}`, got.subarray(0, ids.length), ids, EXACT);
      }),
    );
    const states = own.clipSkip['0'];
    return [
      ...rows,
      ...(states === undefined ? [] : compareStates(bench, `${name} ${family}`, plan, { ...own, ...states }, family)),
    ];
  });
}

function planFor(
  { tokenizers }: Bench,
  family: Family,
  prompt: Pick<Parameters<typeof planPrompt>[0], 'positive' | 'negative' | 'weighting'>,
): PromptPlan {
  const sdxl = family === 'sdxl';
  return planPrompt({ ...prompt, tokenizers: sdxl ? tokenizers : tokenizers.slice(0, 1), pooled: sdxl });
}

function pairs(fragments: readonly Fragment[]): readonly Pair[] {
  return fragments.map(({ text, weight }) => [text, weight]);
}

function mustRefuse(name: string, parse: () => unknown): Comparison {
  const refused = ((): boolean => {
    try {
      parse();
      return false;
    } catch (error) {
      return error instanceof DarkroomError;
    }
  })();
  return compare(`${name}: refused`, [refused ? 0 : 1], [0], EXACT);
}

/** Structure and texts must be equal, numbers nearly. */
function compareParsed(name: string, got: unknown, expected: unknown): readonly Comparison[] {
  const [own, golden] = [numbersOf(got), numbersOf(expected)];
  return [
    compare(`${name}: texts`, [own.shape === golden.shape ? 0 : 1], [0], EXACT),
    compare(`${name}: weights`, own.numbers, golden.numbers, WEIGHTS),
  ];
}

/** A JSON value's numbers in order, and the value without them. */
function numbersOf(value: unknown): { readonly shape: string; readonly numbers: readonly number[] } {
  const numbers: number[] = [];
  const shape = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== 'number') return part;
    numbers.push(part);
    return '#';
  });
  return { shape, numbers };
}

function callKey({
  encoder,
  ids,
  mask,
}: {
  readonly encoder: number;
  readonly ids: ArrayLike<number>;
  readonly mask?: ArrayLike<number>;
}): string {
  return JSON.stringify([encoder, Array.from(ids), mask === undefined ? null : Array.from(mask)]);
}

function compareStates(
  bench: Bench,
  name: string,
  plan: PromptPlan,
  encoded: Encoded,
  family: Family,
): readonly Comparison[] {
  const indices = plan.calls.map((call: EncoderCall) => bench.callIndex.get(callKey(call)));
  const strange = indices.filter((index) => index === undefined || !encoded.calls.includes(index)).length;
  const calls = compare(`${name}: calls that the original did not make`, [strange], [0], EXACT);
  if (strange > 0) return [calls];

  const tensor = (key: string): Float64Array => bench.tensors.get(key) ?? new Float64Array();
  const results = indices.map((index): CallResult => {
    const states = Float32Array.from(tensor(`call/${index}/${family === 'sd15' ? 'last' : 'penultimate'}`));
    return { positive: states, negative: states, pooled: Float32Array.from(tensor(`call/${index}/pooled`)) };
  });
  const { positive, negative } = combine(plan, results);
  const check = (what: string, got: Float32Array | undefined, key: string | undefined): readonly Comparison[] =>
    key === undefined ? [] : [compare(`${name}: ${what}`, got ?? [], tensor(key), STATES)];
  const perChunk = encoded.pooledOfEachChunk === undefined ? undefined : tensor(encoded.pooledOfEachChunk);
  return [
    calls,
    ...check('states', positive.states, encoded.embeds),
    ...check('pooled', positive.pooled, encoded.pooled),
    ...check('negative states', negative?.states, encoded.negativeEmbeds),
    ...check('negative pooled', negative?.pooled, encoded.negativePooled),
    ...(perChunk === undefined
      ? []
      : [compare(`${name}: pooled`, positive.pooled ?? [], perChunk.subarray(0, positive.pooled?.length), STATES)]),
  ];
}
