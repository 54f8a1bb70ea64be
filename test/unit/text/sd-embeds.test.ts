/** @file The web UI's syntax: the examples of its documentation, what is refused and where, and prompts made to hurt. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { parseSdEmbeds } from '../../../src/text/sd-embeds.js';
import { refusal, within } from './support.js';

/** AUTOMATIC1111/stable-diffusion-webui, wiki "Features", Attention/emphasis: its cheat sheet and what it says of characters. */
const PUBLISHED: readonly (readonly [prompt: string, fragments: readonly (readonly [string, number])[]])[] = [
  [
    'a (word)',
    [
      ['a ', 1],
      ['word', 1.1],
    ],
  ],
  [
    'a ((word))',
    [
      ['a ', 1],
      ['word', 1.21],
    ],
  ],
  [
    'a [word]',
    [
      ['a ', 1],
      ['word', 1 / 1.1],
    ],
  ],
  [
    'a (word:1.5)',
    [
      ['a ', 1],
      ['word', 1.5],
    ],
  ],
  [
    'a (word:0.25)',
    [
      ['a ', 1],
      ['word', 0.25],
    ],
  ],
  ['a \\(word\\)', [['a (word)', 1]]],
  ['anime_\\(character\\)', [['anime_(character)', 1]]],
  [
    'a (((farm))), daytime',
    [
      ['a ', 1],
      ['farm', 1.331],
      [', daytime', 1],
    ],
  ],
];

describe('published examples', () => {
  it.each(PUBLISHED)('%s', (prompt, expected) => {
    const got = parseSdEmbeds(prompt);
    expect(got.map(({ text }) => text)).toEqual(expected.map(([text]) => text));
    got.forEach(({ weight }, i) => expect(weight).toBeCloseTo(expected[i]?.[1] ?? NaN, 12));
  });
});

describe('what makes no sense is refused, by name and place', () => {
  it.each([
    ['a (cat:1.2.3)', 'positivePrompt at character 8: "1.2.3" is not a weight'],
    ['🐈 (a:.)', 'positivePrompt at character 6: "." is not a weight'],
    [`ab${'('.repeat(65)}`, 'positivePrompt at character 67: brackets are nested more than 64 deep'],
    ['['.repeat(65), 'positivePrompt at character 65: brackets are nested more than 64 deep'],
  ])('%s', (prompt, message) => {
    const error = refusal(() => parseSdEmbeds(prompt));
    expect(error.code).toBe('invalidPositivePrompt');
    expect(error.message).toContain(message);
    expect(refusal(() => parseSdEmbeds(prompt, 'negativePrompt')).code).toBe('invalidNegativePrompt');
  });

  it('64 brackets of each kind are not too deep', () => {
    const [fragment] = parseSdEmbeds('(['.repeat(64) + 'a');
    expect(fragment?.text).toBe('a');
    expect(fragment?.weight).toBeCloseTo(1, 12);
  });
});

describe('properties', () => {
  const pieces = [
    ...[
      'a',
      'red ',
      '(',
      ')',
      '[',
      ']',
      ':1.2)',
      ':-.5)',
      ':',
      ':1..2)',
      '\\',
      '\\(',
      '\\]',
      ' BREAK ',
      'BREAKER',
      '猫',
    ],
    ...['\n', '\ud83d', '1.5', ' '],
  ];
  const some = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((list) => list.join(''));

  it('parsing gives fragments or a typed error, never another', () => {
    fc.assert(
      fc.property(fc.oneof(some, fc.string({ unit: 'binary' })), (prompt) => {
        try {
          expect(parseSdEmbeds(prompt).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(DarkroomError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('escaped text is one fragment, letter for letter', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        fc.pre(!text.includes('BREAK'));
        expect(parseSdEmbeds(text.replace(/[\\()[\]]/g, '\\$&'))).toEqual([{ text, weight: 1 }]);
      }),
    );
  });

  it.each([
    ['brackets', `${'(a[b'.repeat(60)}${'c)]'.repeat(900)}`],
    ['colons', ':1'.repeat(1500)],
    ['spaces around BREAK', `${' '.repeat(1400)}BREAK${' '.repeat(1400)}`],
    ['backslashes', '\\'.repeat(3000)],
  ])('3000 characters of %s take no time', (_, prompt) => {
    within(1000, () => parseSdEmbeds(prompt));
  });
});
