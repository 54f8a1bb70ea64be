/** @file Prompts cut into rows of 77: the first rows against transformers' padding and truncation, the rest by the rule. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { promptText, toRow } from '../../../src/text/chunks.js';
import { createClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { promptIds } from '../../../src/text/prompt-plan.js';
import { planPrompt } from '../../../src/text/weighted.js';
import { prompts, vocabFiles } from './goldens.js';

describe.each(['clip', 'clip2'] as const)('%s', (name) => {
  const tokenizer = createClipTokenizer(vocabFiles(name));

  it('a row is transformers’ padded and truncated ids', () => {
    const padded = prompts.filter(({ padded, text }) => padded[name] !== undefined && text !== '__BLANK__');
    expect(padded.length).toBeGreaterThan(50);
    for (const { text, padded: expected } of padded) {
      expect([...toRow(tokenizer.encode(text).slice(0, 75), tokenizer)], text).toEqual(expected[name]);
    }
  });

  it('rows of a prompt hold all ids in order, 75 each, and both sides have as many', () => {
    const some = fc.constantFrom(...prompts.filter(({ category }) => category === 'long' || category === 'plain'));
    fc.assert(
      fc.property(some, some, (positive, negative) => {
        const plan = planPrompt({ positive: positive.text, negative: negative.text, tokenizers: [tokenizer] });
        const lengths = [positive, negative].map(({ ids }) => ids[name].length - 2);
        const rows = Math.max(1, ...lengths.map((length) => Math.ceil(length / 75)));
        for (const [side, { ids }] of [
          [plan.positive, positive],
          [plan.negative ?? { encoders: [] }, negative],
        ] as const) {
          const inner = ids[name].slice(1, -1);
          const expected = Array.from({ length: rows }, (_, i) => {
            const own = inner.slice(i * 75, i * 75 + 75);
            const padding = Array<number>(75 - own.length).fill(tokenizer.pad);
            return [tokenizer.bos, ...own, tokenizer.eos, ...padding];
          });
          expect([...promptIds(plan, side, 0)]).toEqual(expected.flat());
        }
      }),
    );
  });
});

describe('edges', () => {
  const tokenizer = createClipTokenizer(vocabFiles('clip'));

  it('empty, blank and absent prompts are one row of begin, end, padding', () => {
    for (const positive of ['', '__BLANK__', '  ']) {
      const [call, ...more] = planPrompt({ positive, tokenizers: [tokenizer] }).calls;
      expect([...(call?.ids ?? [])]).toEqual([1027, ...Array<number>(76).fill(1028)]);
      expect(more).toEqual([]);
    }
    expect([promptText('__BLANK__'), promptText(undefined), promptText('__blank__')]).toEqual(['', '', '__blank__']);
  });

  it('75 ids are one row, 76 are two', () => {
    const rows = (count: number): number =>
      planPrompt({ positive: 'a '.repeat(count), tokenizers: [tokenizer] }).tokens / 77;
    expect([74, 75, 76, 150, 151].map(rows)).toEqual([1, 1, 2, 2, 3]);
    expect(toRow(tokenizer.encode('a '.repeat(75)), tokenizer).at(-1)).toBe(1028);
  });
});
