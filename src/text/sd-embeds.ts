/**
 * @file The prompt syntax of AUTOMATIC1111's web UI, which sd_embed reads too: text → fragments with weights. The rules are those
 * of `parse_prompt_attention` (github.com/xhinker/sd_embed, commit 4a47f71, src/sd_embed/prompt_parser.py), written again.
 */
import type { Fragment } from './compel.js';
import { DEPTH_LIMIT, promptError, tooDeep, type PromptField } from './prompt-error.js';

/** An escaped character, a bracket, the end of `(text:1.5)`, or text. */
const TOKEN = /\\[()[\]\\]?|[()[\]]|:([+-]?[.\d]+)\)|[^\\()[\]:]+|:/gu;
/** The word by itself; `_`, letters and digits of any script around it make it another word. */
const BREAK = /(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/gu;

const ROUND = 1.1;
const SQUARE = 1 / 1.1;

/**
 * Parses a prompt, e.g. `parseSdEmbeds('a (red:1.3) ball, [dusk]')`: `(…)` weighs 1.1, `[…]` 1/1.1, nesting multiplies, `\(` is text.
 * Brackets that never close reach to the end; closing ones that never open are text. The word `BREAK` weighs −1, as in sd_embed.
 * @throws invalidPositivePrompt or invalidNegativePrompt, by `field`: a weight such as `1.2.3`, brackets nested too deep
 */
export function parseSdEmbeds(prompt: string, field: PromptField = 'positivePrompt'): readonly Fragment[] {
  const found: { readonly text: string; weight: number }[] = [];
  const rounds: number[] = [];
  const squares: number[] = [];
  const scale = (start: number, factor: number): void => {
    for (const fragment of found.slice(start)) fragment.weight *= factor;
  };
  const open = (stack: number[], at: number): void => {
    if (stack.length >= DEPTH_LIMIT) throw tooDeep(field, prompt, at);
    stack.push(found.length);
  };

  for (const { 0: token, 1: weight, index } of prompt.matchAll(TOKEN)) {
    const [round, square] = [rounds.at(-1), squares.at(-1)];
    if (token.startsWith('\\')) found.push({ text: token.slice(1), weight: 1 });
    else if (token === '(') open(rounds, index);
    else if (token === '[') open(squares, index);
    else if (weight !== undefined && round !== undefined) {
      scale(round, readWeight(weight, { field, prompt, at: index + 1 }));
      rounds.pop();
    } else if (token === ')' && round !== undefined) {
      scale(round, ROUND);
      rounds.pop();
    } else if (token === ']' && square !== undefined) {
      scale(square, SQUARE);
      squares.pop();
    } else found.push(...splitAtBreaks(token));
  }
  for (const start of rounds) scale(start, ROUND);
  for (const start of squares) scale(start, SQUARE);
  return joinEqual(found);
}

function readWeight(
  text: string,
  place: { readonly field: PromptField; readonly prompt: string; readonly at: number },
): number {
  const weight = Number(text);
  if (!Number.isNaN(weight)) return weight;
  throw promptError(place.field, `${JSON.stringify(text)} is not a weight, which is a number such as 1.5.`, {
    ...place,
    hint: 'Escape the brackets, \\( and \\), if they are text.',
  });
}

/** Text, with the word BREAK, and the white space around it, cut out and weighing −1. */
function splitAtBreaks(text: string): { readonly text: string; weight: number }[] {
  const parts = text.split(BREAK);
  return parts.flatMap((part, i) => {
    const left = i === 0 ? part : part.trimStart();
    const own = { text: i === parts.length - 1 ? left : left.trimEnd(), weight: 1 };
    return i === 0 ? [own] : [{ text: 'BREAK', weight: -1 }, own];
  });
}

/** Joins neighbours of equal weight; at least one fragment. */
function joinEqual(fragments: readonly Fragment[]): readonly Fragment[] {
  const joined: { readonly texts: string[]; readonly weight: number }[] = [];
  for (const { text, weight } of fragments) {
    const last = joined.at(-1);
    if (last?.weight === weight) last.texts.push(text);
    else joined.push({ texts: [text], weight });
  }
  return joined.length === 0
    ? [{ text: '', weight: 1 }]
    : joined.map(({ texts, weight }) => ({ text: texts.join(''), weight }));
}
