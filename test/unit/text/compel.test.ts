/** @file compel's syntax: the examples of its documentation, what is refused and where, and prompts made to hurt. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { parseCompel, type CompelPrompt } from '../../../src/text/compel.js';
import { refusal, within } from './support.js';

/** A prompt of one clause as `text@weight` lists. */
function fragments(prompt: string): readonly (readonly [string, number])[] {
  const [clause] = parseCompel(prompt).clauses;
  return clause?.kind === 'fragments' ? clause.fragments.map(({ text, weight }) => [text, weight]) : [];
}

/** github.com/damian0815/compel, doc/syntax.md and Reference.md, with the weights that the text there gives. */
const PUBLISHED: readonly (readonly [prompt: string, fragments: readonly (readonly [string, number])[]])[] = [
  [
    'a tall thin man picking apricots+',
    [
      ['a tall thin man picking', 1],
      ['apricots', 1.1],
    ],
  ],
  [
    'a tall thin man picking (apricots)+',
    [
      ['a tall thin man picking', 1],
      ['apricots', 1.1],
    ],
  ],
  [
    'a tall thin man picking (apricots)-',
    [
      ['a tall thin man picking', 1],
      ['apricots', 0.9],
    ],
  ],
  [
    'a tall thin man (picking apricots)+',
    [
      ['a tall thin man', 1],
      ['picking apricots', 1.1],
    ],
  ],
  [
    'a tall thin man (picking apricots)++',
    [
      ['a tall thin man', 1],
      ['picking apricots', 1.1 ** 2],
    ],
  ],
  [
    'a tall thin man (picking apricots+)++',
    [
      ['a tall thin man', 1],
      ['picking', 1.1 ** 2],
      ['apricots', 1.1 ** 3],
    ],
  ],
  [
    'a tall thin man picking (apricots)1.1',
    [
      ['a tall thin man picking', 1],
      ['apricots', 1.1],
    ],
  ],
  [
    'a tall thin man (picking (apricots)1.3)1.1',
    [
      ['a tall thin man', 1],
      ['picking', 1.1],
      ['apricots', 1.43],
    ],
  ],
  [
    'a man picking apricots--- from a tree',
    [
      ['a man picking', 1],
      ['apricots', 0.729],
      ['from a tree', 1],
    ],
  ],
  [
    'mountain man++++',
    [
      ['mountain', 1],
      ['man', 1.1 ** 4],
    ],
  ],
  [
    'a man (picking apricots)1.5',
    [
      ['a man', 1],
      ['picking apricots', 1.5],
    ],
  ],
  ['\\(my_keyword\\)', [['(my_keyword)', 1]]],
  [
    'a cat playing with a ball++ in the forest',
    [
      ['a cat playing with a', 1],
      ['ball', 1.21],
      ['in the forest', 1],
    ],
  ],
];

describe('published examples', () => {
  it.each(PUBLISHED)('%s', (prompt, expected) => {
    const got = fragments(prompt);
    expect(got.map(([text]) => text)).toEqual(expected.map(([text]) => text));
    got.forEach(([, weight], i) => expect(weight).toBeCloseTo(expected[i]?.[1] ?? NaN, 12));
  });

  it('blends and conjunctions', () => {
    expect(parseCompel('("blue sphere", "red cube").blend(0.25,0.75)')).toEqual({
      clauses: [
        {
          kind: 'blend',
          prompts: [[{ text: 'blue sphere', weight: 1 }], [{ text: 'red cube', weight: 1 }]],
          weights: [0.25, 0.75],
          normalize: true,
        },
      ],
      weights: [1],
    });
    const galaxy =
      '("A dream of a distant galaxy, by Caspar David Friedrich, matte painting", "trending on artstation, HQ").and()';
    // between quotes a comma is a fragment of its own, and fragments are joined by spaces
    expect(parseCompel(galaxy)).toEqual({
      clauses: [
        'A dream of a distant galaxy , by Caspar David Friedrich , matte painting',
        'trending on artstation , HQ',
      ].map((text) => ({ kind: 'fragments', fragments: [{ text, weight: 1 }] })),
      weights: [1, 1],
    });
  });
});

describe('what makes no sense is refused, by name and place', () => {
  const cases: readonly (readonly [prompt: string, message: RegExp])[] = [
    ['()', /brackets are empty/],
    ['(())1.3', /brackets are empty/],
    ['("a", "b").blend(1)', /1 weights for 2 prompts/],
    ['("a", "b").and(1, 2, 3)', /3 weights for 2 prompts/],
    ['("a", "b").blend(1, much)', /"much" where a weight/],
    ['("a", ()).blend(1, 1)', /empty brackets/],
    ['("a", "b").blend(1, 1) in the rain', /"in the rain" follows/],
    ['a cat.swap(dog)', /^positivePrompt at character 3: \.swap\(\)/],
    ['a,b cat.swap(dog)', /^positivePrompt at character 5: /],
    ['🐈 withLora(style, 0.5)', /^positivePrompt at character 3: .*LoRA/],
    ['a '.repeat(3) + '('.repeat(65) + 'b' + ')'.repeat(65), /at character 71: brackets are nested more than 64/],
  ];
  it.each(cases)('%s', (prompt, message) => {
    expect(refusal(() => parseCompel(prompt))).toMatchObject({
      code: 'invalidPositivePrompt',
      message: expect.stringMatching(message) as unknown,
    });
    expect(refusal(() => parseCompel(prompt, 'negativePrompt')).code).toBe('invalidNegativePrompt');
  });

  it('64 brackets are not too deep', () => {
    const [fragment] = fragments('('.repeat(64) + 'b' + ')+'.repeat(64));
    expect(fragment?.[0]).toBe('b');
    expect(fragment?.[1]).toBeCloseTo(1.1 ** 64, 9);
  });

  it('what only looks like syntax is text', () => {
    for (const prompt of ['a (cat', 'cat) b', '+++', 'a.swap b', '(a:1.3)', 'blend(1, 2)', '“a”.blend(1)', 'a "b'])
      expect(fragments(prompt).map(([, weight]) => weight)).toEqual([1]);
  });
});

describe('hostile prompts', () => {
  const pieces = [
    ...['a', 'red ', '(', ')', '+', '-', '++', '1.2', '"', ' ', ',', '.', '\\', '\\(', '\\)', '\\"', '=', ':', '猫'],
    ...['.blend(', '.and(1,1)', '.attend(1.3)', '.swap(', 'withLora(', 'no_normalize', '\u3000', '\n', '\v', '\ud83d'],
  ];
  const some = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((list) => list.join(''));

  it('parsing gives fragments or a typed error, never another', () => {
    fc.assert(
      fc.property(fc.oneof(some, fc.string({ unit: 'binary' })), (prompt) => {
        const parsed = ((): CompelPrompt | undefined => {
          try {
            return parseCompel(prompt);
          } catch (error) {
            expect(error).toBeInstanceOf(DarkroomError);
            return undefined;
          }
        })();
        if (parsed === undefined) return;
        expect(parsed.clauses.length).toBeGreaterThan(0);
        expect(parsed.weights).toHaveLength(parsed.clauses.length);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['brackets that never close', `${'(a '.repeat(60)}${'b '.repeat(1400)}`],
    ['brackets that close', `${'(a (b)+ '.repeat(60)}${')'.repeat(60)}${'(c)- '.repeat(400)}`],
    ['swaps that never close', `${'a.swap('.repeat(60)}${'b '.repeat(1200)}`],
    ['quotes', '"'.repeat(3000)],
    ['quotes with brackets', '"(" '.repeat(750)],
    ['escaped quotes', `"${'\\"'.repeat(1499)}`],
    ['backslashes', '\\'.repeat(3000)],
    ['signs', '+'.repeat(3000)],
    ['weights', 'a- '.repeat(1000)],
    ['spaces', ' '.repeat(3000)],
    ['a long list', `(${'"a",'.repeat(700)}"a").and(${'1,'.repeat(700)}1)`],
  ])('3000 characters of %s take no time', (_, prompt) => {
    within(1000, () => {
      try {
        parseCompel(prompt);
      } catch (error) {
        expect(error).toBeInstanceOf(DarkroomError);
      }
    });
  });
});
