/** @file Plans of weighted prompts beyond the goldens: lengths, masks over several chunks, equal calls, refusals; combining by formula. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { combine, type CallResult } from '../../../src/text/combine.js';
import { promptIds, sidesAlike, type EncoderCall, type PromptPlan } from '../../../src/text/prompt-plan.js';
import { planPrompt } from '../../../src/text/weighted.js';
import { vocabFiles } from './goldens.js';
import { refusal, within } from './support.js';

const clip = createClipTokenizer(vocabFiles('clip'));
const clip2 = createClipTokenizer(vocabFiles('clip2'));
const tokenizers = [clip];
const WEIGHTINGS = [undefined, 'compel', 'sdEmbeds'] as const;

/** The id of "a", a word of one token. */
const A = clip.encode('a')[0] ?? 0;

/** A width-1 "encoder": each place's state is its id, plus 0.5 where something is hidden from it. */
function encode({ ids, mask }: EncoderCall): CallResult {
  const hidden = mask?.includes(0) === true ? 0.5 : 0;
  const states = Float32Array.from(ids, (id) => id + hidden);
  return { positive: states, negative: states, pooled: Float32Array.of(ids[1] ?? 0) };
}

function statesOf(plan: PromptPlan): Float32Array {
  return combine(plan, plan.calls.map(encode)).positive.states;
}

describe('without operators', () => {
  const word = fc.constantFrom('cat', 'red', 'a', 'sailboat', 'sea', 'Photo', '2', 'xyzzy');
  const text = fc.array(word, { maxLength: 12 }).map((words) => words.join(' '));

  it.each(['compel', 'sdEmbeds'] as const)('%s is the plan without weighting', (weighting) => {
    fc.assert(
      fc.property(text, fc.option(text, { nil: undefined }), (positive, negative) => {
        const plain = planPrompt({ positive, negative, tokenizers, pooled: true });
        const weighted = planPrompt({ positive, negative, tokenizers, pooled: true, weighting });
        expect(weighted.calls).toEqual(plain.calls);
        expect(weighted.tokens).toBe(plain.tokens);
        const results = plain.calls.map(encode);
        expect(combine(weighted, results)).toEqual(combine(plain, results));
      }),
    );
  });

  it('brackets and signs are text where no weighting is asked for', () => {
    const [call] = planPrompt({ positive: '(a cat)1.5 dog++', tokenizers }).calls;
    const ids = clip.encode('(a cat)1.5 dog++');
    expect([...(call?.ids ?? [])].slice(0, ids.length + 2)).toEqual([clip.bos, ...ids, clip.eos]);
  });
});

describe('both sides', () => {
  it.each(WEIGHTINGS)('%s: have equally many chunks, the shorter filled with the empty prompt', (weighting) => {
    const plan = planPrompt({ positive: 'a cat', negative: 'a '.repeat(160), tokenizers: [clip, clip2], weighting });
    expect(plan.tokens).toBe(3 * 77);
    const { positive, negative } = combine(plan, plan.calls.map(encode));
    expect(positive.states).toHaveLength(2 * 3 * 77);
    expect(negative?.states).toHaveLength(2 * 3 * 77);
    const empty = [clip.bos, ...Array<number>(76).fill(clip.eos)];
    expect([...promptIds(plan, plan.positive, 0)].slice(77)).toEqual([...empty, ...empty]);
    const filled = [...positive.states].filter((_, i) => i % 2 === 0).slice(77);
    expect(filled).toEqual([...empty, ...empty]);
  });

  it.each(WEIGHTINGS)('%s: without a negative prompt there is no negative side', (weighting) => {
    const plan = planPrompt({ positive: 'a (cat)1.2', tokenizers, weighting });
    expect(plan.negative).toBeUndefined();
    expect(combine(plan, plan.calls.map(encode)).negative).toBeUndefined();
  });

  it.each(WEIGHTINGS)('%s: __BLANK__ is the empty prompt, and equal prompts share their calls', (weighting) => {
    const plan = planPrompt({ positive: '__BLANK__', negative: '', tokenizers, weighting });
    expect(plan.calls.map(({ ids }) => [...ids])).toEqual([[clip.bos, ...Array<number>(76).fill(clip.eos)]]);
    expect(plan.positive).toEqual(plan.negative);
    expect(sidesAlike(plan)).toBe(true);
  });

  it('are alike when text and weights are', () => {
    const alike = (positive: string, negative: string | undefined): boolean =>
      sidesAlike(planPrompt({ positive, negative, tokenizers, weighting: 'compel' }));
    expect(alike('a (cat)1.2', '(a) cat1.2')).toBe(false);
    expect(alike('a (cat)1.2', 'a  "cat"1.2')).toBe(true);
    expect(alike('a (cat)1.2', 'a (cat)1.3')).toBe(false);
    expect(alike('a cat', undefined)).toBe(false);
  });

  it('the negative side reads its own states', () => {
    const plan = planPrompt({ positive: 'a cat', negative: 'a cat', tokenizers });
    const [positive, negative] = [new Float32Array(77).fill(1), new Float32Array(77).fill(2)];
    const states = combine(plan, [{ positive, negative }]);
    expect([states.positive.states, states.negative?.states]).toEqual([positive, negative]);
  });
});

describe('sdEmbeds', () => {
  it('multiplies the states, and pools the first chunk', () => {
    const plan = planPrompt({
      positive: `${'a '.repeat(74)}(cat:2) [cat]`,
      tokenizers,
      weighting: 'sdEmbeds',
      pooled: true,
    });
    const cat = clip.encode('cat')[0] ?? 0;
    const states = statesOf(plan);
    expect(plan.tokens).toBe(154);
    expect(states[1]).toBe(A);
    expect(states[75]).toBe(2 * cat);
    expect(states[78]).toBeCloseTo(cat / 1.1, 3);
    expect(states[79]).toBe(clip.eos);
    expect([...(combine(plan, plan.calls.map(encode)).positive.pooled ?? [])]).toEqual([A]);
  });
});

describe('compel', () => {
  it('a fragment over several chunks is hidden in each, but for the first and the last place', () => {
    // 70 words, then one fragment of 100: places 71–75 of chunk 0, 1–75 of chunk 1, 1–20 of chunk 2
    const positive = `${'a '.repeat(70)}(${'cat '.repeat(100)})0.5 dog`;
    const plan = planPrompt({ positive, tokenizers, weighting: 'compel' });
    const masks = plan.calls.flatMap(({ mask }) => (mask === undefined ? [] : [[...mask]]));
    // as compel writes it: one mask over all chunks, then the delimiters uncovered
    const flat = Array<number>(3 * 77)
      .fill(1)
      .fill(0, 71, 2 * 77 + 21);
    for (let i = 0; i < flat.length; i += 77) flat[i] = flat[i + 76] = 1;
    expect(masks.flat()).toEqual(flat);
  });

  it('ends chunks after a sentence, or else a phrase, or else a word', () => {
    const firstChunk = (positive: string): number => {
      const [call] = planPrompt({ positive, tokenizers, weighting: 'compel' }).calls;
      return (call?.ids.indexOf(clip.eos) ?? 0) - 1;
    };
    const filler = 'a '.repeat(60);
    expect(firstChunk(`a a . ${filler}, ${filler}`)).toBe(3);
    expect(firstChunk(`a a a , ${'a '.repeat(80)}`)).toBe(4);
    expect(firstChunk('a '.repeat(80))).toBe(75);
    const word = 'supercalifragilistic';
    const length = clip.encode(word).length;
    expect(length).toBeGreaterThan(1);
    expect(firstChunk(`${word} `.repeat(30))).toBe(Math.floor(75 / length) * length);
    expect(firstChunk('x'.repeat(300))).toBe(75);
  });

  it('mixes in the prompt without a weak word by tan((1 − w)·π/2), and moves from the empty prompt', () => {
    const plan = planPrompt({ positive: 'a (cat)0.5', tokenizers, weighting: 'compel' });
    const cat = clip.encode('cat')[0] ?? 0;
    // both halves count alike, so 0.25 is added everywhere; then "cat" keeps half of its distance from the end token
    const states = statesOf(plan);
    expect(states[1]).toBeCloseTo(A + 0.25, 3);
    expect(states[2]).toBeCloseTo(clip.eos + (cat + 0.25 - clip.eos) / 2, 3);
  });

  it('blends by shares of the sum, clauses fade towards the empty prompt', () => {
    const state = (positive: string): number =>
      statesOf(planPrompt({ positive, tokenizers, weighting: 'compel' }))[1] ?? 0;
    const cat = clip.encode('cat')[0] ?? 0;
    expect(state('("a", "cat").blend(1, 3)')).toBeCloseTo((A + 3 * cat) / 4, 3);
    expect(state('("a", "cat").blend(1, 3, no_normalize)')).toBeCloseTo(A + 3 * cat, 3);
    expect(state('("a", "cat").and(0.25, 1)')).toBeCloseTo(clip.eos + (A - clip.eos) / 4, 3);
    expect(planPrompt({ positive: '("a", "cat").and()', tokenizers, weighting: 'compel' }).tokens).toBe(154);
  });

  it('fills up the shorter prompt of a blend', () => {
    const positive = `("${'a '.repeat(80)}", "cat").blend(1, 1)`;
    const states = statesOf(planPrompt({ positive, tokenizers, weighting: 'compel' }));
    expect(states).toHaveLength(154);
    expect(states[78]).toBeCloseTo((A + clip.eos) / 2, 3);
  });
});

describe('refusals', () => {
  it.each([
    ['compel', `(cat)${'9'.repeat(400)}`, /the weight of "cat" is Infinity/],
    ['compel', `cat${'+'.repeat(2000)}`, /the weight of "cat"/],
    ['compel', '("a", "b").and(1, 2000000)', /clause 2 of \.and\(\)/],
    ['compel', '("a", "b").blend(1, -1)', /sum, and that of 1, -1 is 0/],
    ['sdEmbeds', `(cat:${'9'.repeat(30)})`, /the weight of "cat"/],
  ] as const)('%s, %#', (weighting, prompt, message) => {
    expect(refusal(() => planPrompt({ positive: prompt, tokenizers, weighting }))).toMatchObject({
      code: 'invalidPositivePrompt',
      message: expect.stringMatching(message) as unknown,
    });
    expect(refusal(() => planPrompt({ positive: 'a', negative: prompt, tokenizers, weighting })).code).toBe(
      'invalidNegativePrompt',
    );
  });

  it('a result that is missing is our own mistake', () => {
    const plan = planPrompt({ positive: 'a cat', tokenizers });
    expect(refusal(() => combine(plan, [])).code).toBe('internalError');
  });
});

it.each([
  ['compel', 'a- '.repeat(1000), 1000],
  ['compel', '(猫)0.5 '.repeat(375), 375],
  ['sdEmbeds', '(a:1.2)'.repeat(428), 0],
  ['sdEmbeds', '🐈'.repeat(3000), 0],
] as const)(
  '%s: %s is planned in no time, one masked call per weak fragment at most two',
  (weighting, prompt, weak) => {
    within(3000, () => {
      const { calls } = planPrompt({ positive: prompt, tokenizers: [clip, clip2], weighting });
      expect(calls.filter(({ mask }) => mask !== undefined).length).toBeLessThanOrEqual(2 * 2 * weak);
    });
  },
);
