/**
 * @file Embeddings in prompts: token ids against every golden case that diffusers ran with textual inversion, then what no golden
 * shows: case, word ends, several words, the weighting dialects, ends of prompts, chunks, conflicts, warnings.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openEmbedding } from '../../../src/assets/embedding-file.js';
import { readTokenizerFiles } from '../../../src/assets/tokenizer-files.js';
import { withMarks } from '../../../src/text/added-tokens.js';
import { createClipTokenizer, type ClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { promptIds, type PromptPlan } from '../../../src/text/prompt-plan.js';
import { triggersOf } from '../../../src/text/trigger-words.js';
import { markTriggers, triggerWarnings, withWords, type Prompts, type Triggered } from '../../../src/text/triggers.js';
import { planPrompt, type PromptOptions } from '../../../src/text/weighted.js';
import { nodeFolder } from '../../golden-runner/node.js';
import { vocabFiles } from './goldens.js';
import { refusal, within } from './support.js';

const clip = createClipTokenizer(vocabFiles('clip'));

type Embedding = Triggered & { readonly count: number };

function embedding(name: string, count = 1, weight = 1, triggers: readonly string[] = [name]): Embedding {
  return { name, triggers, weight, count };
}

/** As conditioning does it. */
function plan(
  { positive, negative }: Prompts,
  embeddings: readonly Embedding[],
  tokenizers: readonly ClipTokenizer[] = [clip],
  weighting?: PromptOptions['weighting'],
): PromptPlan {
  const marked = markTriggers({ positive, negative }, embeddings);
  return withWords(marked, embeddings, () =>
    planPrompt({
      positive: marked.positive.text,
      negative: marked.negative?.text,
      suffixes: { positive: marked.positive.suffix, negative: marked.negative?.suffix },
      weighting,
      tokenizers: tokenizers.map((tokenizer) =>
        withMarks(
          tokenizer,
          marked,
          embeddings.map(({ count }) => count),
        ),
      ),
    }),
  );
}

/** Ids between begin and the first end of each chunk. */
function ids(prompt: string, embeddings: readonly Embedding[], weighting?: PromptOptions['weighting']): number[] {
  const made = plan({ positive: prompt }, embeddings, [clip], weighting);
  const rows = [...promptIds(made, made.positive, 0)];
  return Array.from({ length: rows.length / 77 }, (_, i) => rows.slice(i * 77 + 1, i * 77 + 77)).flatMap((row) => {
    const end = row.indexOf(clip.eos);
    return row.slice(0, end < 0 ? 75 : end);
  });
}

const NEW = clip.size;

interface Case {
  readonly name: string;
  readonly request: {
    readonly model: string;
    readonly positivePrompt: string;
    readonly negativePrompt?: string;
    readonly embeddings: readonly { readonly model: string; readonly weight?: number }[];
  };
  readonly ids: Readonly<Record<string, readonly number[]>>;
}

/** The tiny Turbo model has the tokenizers of the tiny SDXL, byte for byte; only one of them is kept here. */
const tokenizersOf = (model: string): string => (model === 'sdxl-turbo-tiny' ? 'sdxl-tiny' : model);

describe('ids of diffusers', () => {
  const folder = nodeFolder(join(import.meta.dirname, '../../golden'));
  const cases = JSON.parse(
    readFileSync(new URL('../../golden/embeddings/cases.json', import.meta.url), 'utf8'),
  ) as readonly Case[];

  it('has cases', () => expect(cases).toHaveLength(16));

  it.each(cases)('$name', async ({ request, ids }) => {
    const embeddings = await Promise.all(
      request.embeddings
        .filter(({ weight = 1 }) => weight !== 0)
        .map(async ({ model, weight = 1 }): Promise<Embedding> => {
          const file = await openEmbedding(folder.tree(`models/${model}`));
          return { name: model, triggers: triggersOf(file, model), weight, count: file.count };
        }),
    );
    const slots = request.model.startsWith('sdxl') ? (['tokenizer', 'tokenizer_2'] as const) : (['tokenizer'] as const);
    const tokenizers = await Promise.all(
      slots.map(async (slot) =>
        createClipTokenizer(await readTokenizerFiles(folder.tree(`models/${tokenizersOf(request.model)}`), slot)),
      ),
    );
    const sdxl = slots.length === 2;
    const prompts = { positive: request.positivePrompt, negative: request.negativePrompt ?? (sdxl ? undefined : '') };
    const made = plan(prompts, embeddings, tokenizers);
    let compared = 0;
    tokenizers.forEach((_, i) => {
      for (const [key, side] of [
        [`base.ids_${i + 1}.cond`, made.positive],
        [`base.ids_${i + 1}.uncond`, made.negative],
      ] as const) {
        const expected = ids[key];
        expect(side === undefined ? undefined : [...promptIds(made, side, i)], key).toEqual(expected);
        compared += expected === undefined ? 0 : 1;
      }
    });
    expect(compared).toBeGreaterThanOrEqual(tokenizers.length);
  });
});

describe('a word in a prompt', () => {
  const style = [embedding('zx-style_v1.3', 2)];
  const around = (text: string): number[] => clip.encode(text);

  it.each([['a zx-style_v1.3 cat'], ['a ZX-Style_V1.3 cat'], ['a\tzx-style_v1.3\ncat']])('%j is found', (prompt) => {
    expect(ids(prompt, style)).toEqual([...around('a'), NEW, NEW + 1, ...around('cat')]);
  });

  it('stands beside punctuation', () => {
    expect(ids('(zx-style_v1.3), cat', style)).toEqual([
      ...around('('),
      NEW,
      NEW + 1,
      ...around('),'),
      ...around('cat'),
    ]);
  });

  it.each(['xzx-style_v1.3', 'zx-style_v1.35', 'zx-style_v1.3_b', 'zx-style_v1x3'])(
    '%s is another word, so the embedding goes to the end',
    (word) => expect(ids(word, style)).toEqual([...around(word), NEW, NEW + 1]),
  );

  it('with white space matches any white space, and composed letters match decomposed ones', () => {
    const made = [embedding('caf\u00e9  noir')];
    expect(ids('a cafe\u0301 noir cat', made)).toEqual([...around('a'), NEW, ...around('cat')]);
  });

  it('that needs no end, such as <a>, is found inside a text', () => {
    expect(ids('x<a><a>y', [embedding('<a>', 2)])).toEqual([
      ...around('x'),
      NEW,
      NEW + 1,
      NEW,
      NEW + 1,
      ...around('y'),
    ]);
  });

  it('may be one of several, and is not a pattern', () => {
    const made = [embedding('first', 1, 1, ['first', 'b.d']), embedding('second', 3)];
    expect(ids('b.d second bad FIRST', made)).toEqual([NEW, NEW + 1, NEW + 2, NEW + 3, ...around('bad'), NEW]);
  });

  it('gives way to a longer one that begins at the same place', () => {
    const made = [embedding('bad hand'), embedding('bad hand pro')];
    expect(ids('bad hand pro, bad hand', made)).toEqual([NEW + 1, ...around(','), NEW]);
  });

  it('is text where the prompt holds private characters too', () => {
    const prompt = '\ue000 zxq \uf8ff';
    expect(ids(prompt, [embedding('zxq')])).toEqual([...around('\ue000'), NEW, ...around('\uf8ff')]);
  });

  it('of thousands of letters, or thousands of times, takes linear time', () => {
    within(2000, () => ids('zxq '.repeat(20_000), [embedding('zxq', 2)]));
    within(2000, () => ids('a'.repeat(50_000), [embedding('a'.repeat(200))]));
  });
});

describe('in no prompt', () => {
  it.each([
    ['a cat', 1, 'a cat M'],
    ['__BLANK__', 1, 'M'],
    ['a cat', -1, 'a cat'],
  ])('%j with weight %d', (positive, weight, expected) => {
    const made = markTriggers({ positive, negative: undefined }, [embedding('zxq', 1, weight)]);
    const text = [made.positive.text, made.positive.suffix]
      .filter(Boolean)
      .join(' ')
      .replace(made.marks[0] ?? '', 'M');
    expect(text).toBe(expected);
    expect(made.negative?.suffix).toBe(weight < 0 ? made.marks[0] : undefined);
  });

  it('an absent negative prompt stays absent unless it is needed', () => {
    expect(markTriggers({ positive: 'zxq' }, [embedding('zxq', 1, -1)]).negative).toBeUndefined();
    expect(markTriggers({ positive: 'a' }, [embedding('zxq', 1, -1)]).negative).toMatchObject({ text: '' });
  });

  it('several follow in their order', () => {
    const made = [embedding('one', 2), embedding('two', 1, -1), embedding('three')];
    expect(ids('a cat', made)).toEqual([...clip.encode('a cat'), NEW, NEW + 1, NEW + 3]);
  });

  it('without any word, it goes to the end', () => {
    expect(ids('a cat', [embedding('civitai:1@2', 2, 1, [])])).toEqual([...clip.encode('a cat'), NEW, NEW + 1]);
  });
});

describe('weighting', () => {
  const style = [embedding('style-v1.3', 2)];
  /** Weights of the ids of the first chunk, by id. */
  const weightsOf = (prompt: string, weighting: 'compel' | 'sdEmbeds'): readonly (readonly [number, number])[] => {
    const made = plan({ positive: prompt }, style, [clip], weighting);
    const chunk = made.positive.encoders[0]?.clauses[0]?.parts[0]?.chunks[0];
    const row = made.calls[chunk?.terms[0].call ?? 0]?.ids ?? new Int32Array();
    return [...row].flatMap((id, i) => (id >= NEW ? [[id, chunk?.weights?.[i] ?? 1] as const] : []));
  };

  it.each([
    ['compel', 'a (style-v1.3)1.5 cat', 1.5],
    ['compel', 'a style-v1.3++ cat', 1.1 * 1.1],
    ['compel', 'a (red style-v1.3 ball)1.5', 1.5],
    ['sdEmbeds', 'a (style-v1.3:1.5) cat', 1.5],
    ['sdEmbeds', 'a [style-v1.3] cat', 1 / 1.1],
    // added at the end: outside the brackets that never close
    ['sdEmbeds', 'a (red cat', 1],
    ['compel', 'a (red cat)1.5', 1],
  ] as const)('%s: %s', (weighting, prompt, weight) => {
    const found = weightsOf(prompt, weighting);
    expect(found.map(([id]) => id)).toEqual([NEW, NEW + 1]);
    for (const [, got] of found) expect(got).toBeCloseTo(weight, 12);
  });

  it('compel: at the end of each blended prompt, and of the last clause', () => {
    const blend = plan({ positive: '("a cat", "a dog").blend(1, 1)' }, style, [clip], 'compel');
    expect(blend.calls.map((call) => [...call.ids].filter((id) => id >= NEW))).toEqual([
      [NEW, NEW + 1],
      [NEW, NEW + 1],
    ]);
    const both = plan({ positive: '("a cat", "a dog").and()' }, style, [clip], 'compel');
    expect(both.calls.map((call) => [...call.ids].filter((id) => id >= NEW))).toEqual([[], [NEW, NEW + 1]]);
  });

  it('errors show the word and the place in the prompt', () => {
    const error = refusal(() => plan({ positive: 'style-v1.3 cat withLora(x)' }, style, [clip], 'compel'));
    expect(error).toMatchObject({ code: 'invalidPositivePrompt' });
    expect(error.message).toContain('character 16:');
    const after = refusal(() => plan({ positive: '("a","b").blend(1,1) Style-v1.3' }, style, [clip], 'compel'));
    expect(after.message).toContain('"style-v1.3" follows');
  });
});

describe('chunks', () => {
  const long = [embedding('zxq', 4)];

  it('all its vectors count; ids are cut every 75', () => {
    const made = plan({ positive: `${'a '.repeat(73)}zxq cat` }, long);
    expect(made.tokens).toBe(2 * 77);
    const row = [...promptIds(made, made.positive, 0)];
    expect(row.slice(74, 77)).toEqual([NEW, NEW + 1, clip.eos]);
    expect(row.slice(78, 80)).toEqual([NEW + 2, NEW + 3]);
  });

  it('compel, which cuts at words, keeps them together', () => {
    const made = plan({ positive: `${'a '.repeat(73)}zxq cat` }, long, [clip], 'compel');
    const row = [...promptIds(made, made.positive, 0)];
    expect(row.slice(78, 82)).toEqual([NEW, NEW + 1, NEW + 2, NEW + 3]);
  });

  it('75 vectors fill one', () => {
    const made = plan({ positive: 'zxq' }, [embedding('zxq', 75)]);
    expect(made.tokens).toBe(77);
  });
});

describe('conflicts and warnings', () => {
  it('one word cannot stand for two', () => {
    const error = refusal(() => markTriggers({ positive: 'a' }, [embedding('zxq'), embedding('other', 1, 1, ['ZXQ'])]));
    expect(error).toMatchObject({
      code: 'conflictParameters',
      message: expect.stringMatching(/zxq and other/i) as string,
    });
  });

  it.each([
    ['a zxq', undefined, 1, true, []],
    ['a cat', undefined, 1, true, [/"zxq".* in no prompt.*end of positivePrompt/]],
    ['a cat', undefined, -1, true, [/end of negativePrompt/]],
    ['a cat', undefined, -1, false, [/end of negativePrompt/, /no effect.*guidance is off/]],
    ['a cat', 'zxq', 1, true, []],
    ['a cat', 'zxq', 1, false, [/no effect.*guidance is off/]],
  ] as const)('%j, %j, weight %d, guided %j', (positive, negative, weight, guided, expected) => {
    const warnings = triggerWarnings({ positive, negative }, [embedding('zxq', 1, weight)], guided);
    expect(warnings).toHaveLength(expected.length);
    expected.forEach((pattern, i) => expect(warnings[i]).toMatch(pattern));
  });
});

describe('without embeddings', () => {
  it('prompts, __BLANK__ and the tokenizer stay as they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const made = markTriggers({ positive: text, negative: '__BLANK__' }, []);
        expect(made.positive).toEqual({ text: text === '__BLANK__' ? '' : text, suffix: '' });
        expect(made.negative).toEqual({ text: '', suffix: '' });
      }),
    );
    expect(withMarks(clip, { marks: [], filler: '' }, [])).toBe(clip);
  });
});

describe('triggersOf', () => {
  const file = (stem: string, token?: string): Parameters<typeof triggersOf>[0] => ({ stem, token });

  it.each([
    ['zxstyle', file('zxstyle'), [], ['zxstyle']],
    ['ZXStyle', file('zxstyle'), [], ['ZXStyle']],
    ['civitai:7808@9208', file('EasyNegative'), ['easynegative', 'easy neg'], ['easynegative', 'easy neg']],
    ['civitai:7808@9208', file('EasyNegative'), [], ['EasyNegative']],
    ['civitai:7808@9208', file('learned_embeds-steps-500'), [], []],
    ['huggingface:owner/repo@main', file('learned_embeds', '<toy>'), [], ['<toy>']],
    ['my-toy', file('toy', '<toy>'), [], ['<toy>']],
    ['my-toy', file('toy', '<toy>'), ['toy'], ['toy', '<toy>']],
    ['https://example.org/a/zx.safetensors', file('zx'), [' '], ['zx']],
    ['x', file('x', 'y'.repeat(201)), [], []],
  ] as const)('%s, %j, registered %j', (reference, of, words, expected) => {
    expect(triggersOf(of, reference, words)).toEqual(expected);
  });
});
