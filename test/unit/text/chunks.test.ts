/** @file Prompts cut into rows of 77: the first rows against transformers' padding and truncation, the rest by the rule. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunkPrompts, promptText } from '../../../src/text/chunks.js';
import { createClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { prompts, vocabFiles } from './goldens.js';

describe.each(['clip', 'clip2'] as const)('%s', (name) => {
  const tokenizer = createClipTokenizer(vocabFiles(name));

  it('first rows are transformers’ padded and truncated ids', () => {
    const padded = prompts.filter(({ padded, text }) => padded[name] !== undefined && text !== '__BLANK__');
    expect(padded.length).toBeGreaterThan(50);
    for (const { text, padded: expected } of padded) {
      expect([...(chunkPrompts(tokenizer, text).positive[0] ?? [])], text).toEqual(expected[name]);
    }
  });

  it('rows hold all ids in order, 75 each, and both sides have as many', () => {
    const some = fc.constantFrom(...prompts.filter(({ category }) => category === 'long' || category === 'plain'));
    fc.assert(
      fc.property(some, some, (positive, negative) => {
        const chunks = chunkPrompts(tokenizer, positive.text, negative.text);
        const lengths = [positive, negative].map(({ ids }) => ids[name].length - 2);
        const rows = Math.max(1, ...lengths.map((length) => Math.ceil(length / 75)));
        for (const [side, { ids }] of [
          [chunks.positive, positive],
          [chunks.negative, negative],
        ] as const) {
          expect(side).toHaveLength(rows);
          const inner = ids[name].slice(1, -1);
          side.forEach((row, i) => {
            const own = inner.slice(i * 75, i * 75 + 75);
            const padding = Array<number>(75 - own.length).fill(tokenizer.pad);
            expect([...row]).toEqual([tokenizer.bos, ...own, tokenizer.eos, ...padding]);
          });
        }
      }),
    );
  });
});

describe('edges', () => {
  const tokenizer = createClipTokenizer(vocabFiles('clip'));
  const empty = [1027, ...Array<number>(76).fill(1028)];

  it('empty, blank and absent prompts are one row of begin, end, padding', () => {
    for (const prompt of ['', '__BLANK__', '  ']) {
      const { positive, negative } = chunkPrompts(tokenizer, prompt);
      expect(positive.map((row) => [...row])).toEqual([empty]);
      expect(negative.map((row) => [...row])).toEqual([empty]);
    }
    expect([promptText('__BLANK__'), promptText(undefined), promptText('__blank__')]).toEqual(['', '', '__blank__']);
  });

  it('75 ids are one row, 76 are two', () => {
    const rows = (count: number): number => chunkPrompts(tokenizer, 'a '.repeat(count)).positive.length;
    expect([74, 75, 76, 150, 151].map(rows)).toEqual([1, 1, 2, 2, 3]);
    expect([...(chunkPrompts(tokenizer, 'a '.repeat(75)).positive[0] ?? [])].at(-1)).toBe(1028);
  });
});
