/**
 * @file Where embeddings stand in prompts: their words are found and replaced by marks before any syntax is read, so that the word
 * `style-v1.3` is one token in every dialect. An embedding whose word is in no prompt is put at the end of one. Knows no vectors.
 */
import { DarkroomError, fail } from '../base/errors.js';
import { promptText } from './chunks.js';
import { quote, type PromptField } from './prompt-error.js';

/** An embedding as prompts see it. */
export interface Triggered {
  /** For messages: as the request names it. */
  readonly name: string;
  /** The words that stand for it, in any case of letters; with none it is always put at the end. */
  readonly triggers: readonly string[];
  /** Not 0; below 0, one that is in no prompt goes to the negative one. */
  readonly weight: number;
}

export interface Prompts {
  readonly positive: string;
  readonly negative?: string | undefined;
}

/** A prompt whose triggers are marks. */
export interface MarkedPrompt {
  /** As long as the prompt, so that places in it stay what they were. */
  readonly text: string;
  /** Marks of embeddings that are in no prompt: they follow the text, outside its syntax. */
  readonly suffix: string;
}

export interface MarkedPrompts {
  readonly positive: MarkedPrompt;
  /** Absent where there was none and none is needed. */
  readonly negative: MarkedPrompt | undefined;
  /** One per embedding: a character that begins each of its places; {@link MarkedPrompts.filler} follows, up to the word's length. */
  readonly marks: readonly string[];
  readonly filler: string;
}

/** The private use area: characters that mean nothing to any tokenizer or dialect. */
const PRIVATE_USE = { first: 0xe000, last: 0xf8ff } as const;

/**
 * Marks the words of embeddings in both prompts, e.g. `a zxstyle picture` → `a ······· picture`. A word counts where no letter, digit
 * or `_` continues it; of words that begin at one place the longest counts. Words found nowhere go to the end of the positive prompt
 * (weight > 0) or of the negative one (< 0), in the order of the embeddings. Without embeddings the prompts stay as they are.
 * @throws conflictParameters when a word stands for two embeddings
 */
export function markTriggers({ positive, negative }: Prompts, embeddings: readonly Triggered[]): MarkedPrompts {
  if (embeddings.length === 0) {
    return {
      positive: plain(positive),
      negative: negative === undefined ? undefined : plain(negative),
      marks: [],
      filler: '',
    };
  }
  const words = triggerWords(embeddings);
  const texts = [positive, negative].map((prompt) => promptText(prompt).normalize('NFC'));
  const [filler, ...marks] = unusedCharacters(texts.join(''), embeddings.length + 1);
  const found = new Set<number>();
  const [positiveText = '', negativeText = ''] = texts.map((text) =>
    replaceWords(text, words, (embedding, length) => {
      found.add(embedding);
      return (marks[embedding] ?? '') + (filler ?? '').repeat(length - 1);
    }),
  );
  const missing = (sign: number): string =>
    marks.filter((_, i) => !found.has(i) && Math.sign(embeddings[i]?.weight ?? 0) === sign).join(' ');
  const suffix = missing(-1);
  return {
    positive: { text: positiveText, suffix: missing(1) },
    negative: negative === undefined && suffix === '' ? undefined : { text: negativeText, suffix },
    marks,
    filler: filler ?? '',
  };
}

/**
 * What a user should be told of the embeddings of a task, one sentence each: a word that is in no prompt, and one that only a prompt
 * without effect has.
 * @param guided whether the negative prompt has any effect
 * @throws conflictParameters as {@link markTriggers}
 */
export function triggerWarnings(
  prompts: Prompts,
  embeddings: readonly Triggered[],
  guided: boolean,
): readonly string[] {
  const { positive, negative, marks } = markTriggers(prompts, embeddings);
  return embeddings.flatMap(({ name, triggers }, i) => {
    const mark = marks[i] ?? '';
    const isIn = (prompt: MarkedPrompt | undefined, part: keyof MarkedPrompt): boolean =>
      prompt?.[part].includes(mark) === true;
    const end: PromptField | undefined = isIn(positive, 'suffix')
      ? 'positivePrompt'
      : isIn(negative, 'suffix')
        ? 'negativePrompt'
        : undefined;
    const words = triggers.map(quote).join(' or ');
    const why = words === '' ? 'has no trigger word' : `has its trigger word (${words}) in no prompt`;
    const added = end === undefined ? [] : [`Embedding ${name} ${why}; it was added at the end of ${end}.`];
    const isIdle = !guided && !isIn(positive, 'text') && !isIn(positive, 'suffix');
    return isIdle
      ? [...added, `Embedding ${name} has no effect: it is in negativePrompt, and guidance is off.`]
      : added;
  });
}

/** Runs `plan` on marked prompts; errors that it throws show the words instead of marks. */
export function withWords<T>({ marks, filler }: MarkedPrompts, embeddings: readonly Triggered[], plan: () => T): T {
  try {
    return plan();
  } catch (error) {
    if (!(error instanceof DarkroomError) || marks.length === 0) throw error;
    const { code, message, ...more } = error.error;
    const places = new RegExp(`([${marks.join('')}])${filler}*`, 'gu');
    const named = message.replace(places, (_, mark: string) => embeddings[marks.indexOf(mark)]?.triggers[0] ?? '');
    throw fail(code, named, { ...more, cause: error });
  }
}

function plain(prompt: string): MarkedPrompt {
  return { text: promptText(prompt), suffix: '' };
}

interface Word {
  readonly text: string;
  /** Index of the embedding that it stands for. */
  readonly embedding: number;
}

/** All words, the longest first. @throws conflictParameters */
function triggerWords(embeddings: readonly Triggered[]): readonly Word[] {
  const words: Word[] = [];
  const owners = new Map<string, number>();
  for (const [embedding, { triggers }] of embeddings.entries()) {
    for (const text of triggers.map((trigger) => trigger.normalize('NFC').trim())) {
      const key = text.toLowerCase();
      const owner = owners.get(key) ?? embedding;
      if (owner !== embedding) throw sharedWord(text, embeddings[owner], embeddings[embedding]);
      owners.set(key, embedding);
      if (text !== '') words.push({ text, embedding });
    }
  }
  return words.toSorted((a, b) => b.text.length - a.text.length);
}

function sharedWord(text: string, first: Triggered | undefined, second: Triggered | undefined): Error {
  return fail(
    'conflictParameters',
    `embeddings: ${quote(text)} stands for both ${first?.name} and ${second?.name}; each needs a word of its own.`,
    {
      parameter: 'embeddings',
      type: 'object[]',
      hint: 'Name each embedding once, or register one under another name.',
    },
  );
}

const WORD_CHARACTER = '[\\p{L}\\p{M}\\p{N}_]';

function replaceWords(
  text: string,
  words: readonly Word[],
  markOf: (embedding: number, length: number) => string,
): string {
  if (words.length === 0) return text;
  const pattern = new RegExp(words.map((word) => `(${wordPattern(word.text)})`).join('|'), 'giu');
  return text.replace(pattern, (match: string, ...groups: readonly unknown[]) => {
    const word = words.find((_, i) => groups[i] !== undefined);
    return markOf(word?.embedding ?? 0, match.length);
  });
}

/** White space in a word matches any; an end that is a letter must be the end of a word. */
function wordPattern(text: string): string {
  const isPartOfWord = (character: string | undefined): boolean =>
    new RegExp(WORD_CHARACTER, 'u').test(character ?? '');
  const characters = [...text];
  const before = isPartOfWord(characters[0]) ? `(?<!${WORD_CHARACTER})` : '';
  const after = isPartOfWord(characters.at(-1)) ? `(?!${WORD_CHARACTER})` : '';
  const literal = text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&').replace(/\s+/gu, '\\s+');
  return before + literal + after;
}

/** Of the private use area, those that are in no prompt. */
function unusedCharacters(text: string, count: number): readonly string[] {
  const used = new Set(text);
  const free: string[] = [];
  for (let code = PRIVATE_USE.first; code <= PRIVATE_USE.last && free.length < count; code++) {
    const character = String.fromCharCode(code);
    if (!used.has(character)) free.push(character);
  }
  return free;
}
