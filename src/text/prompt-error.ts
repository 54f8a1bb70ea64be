/** @file The error of a prompt whose weights make no sense: which parameter, what was found, at which character. */
import { fail, type DarkroomError } from '../base/errors.js';

/** The parameter that a prompt came in; errors name it. */
export type PromptField = 'positivePrompt' | 'negativePrompt';

/** How deep brackets may be nested: deeper than any prompt needs, shallow enough for every stack. */
export const DEPTH_LIMIT = 64;

/** Weights beyond this would overflow the text encoder's numbers. */
const WEIGHT_LIMIT = 1e6;

/**
 * The error `invalidPositivePrompt` or `invalidNegativePrompt`.
 * @param at code unit of the prompt where the trouble begins; the message counts characters from 1
 */
export function promptError(
  field: PromptField,
  message: string,
  { prompt, at, hint }: { readonly prompt?: string; readonly at?: number; readonly hint?: string } = {},
): DarkroomError {
  const place = prompt === undefined || at === undefined ? '' : ` at character ${[...prompt.slice(0, at)].length + 1}`;
  const code = field === 'positivePrompt' ? 'invalidPositivePrompt' : 'invalidNegativePrompt';
  return fail(code, `${field}${place}: ${message}`, {
    parameter: field,
    type: 'string',
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The error of a bracket below {@link DEPTH_LIMIT} others. */
export function tooDeep(field: PromptField, prompt: string, at: number): DarkroomError {
  return promptError(field, `brackets are nested more than ${DEPTH_LIMIT} deep.`, {
    prompt,
    at,
    hint: 'A number says it shorter: (word)1.5 for compel, (word:1.5) for sdEmbeds. \\( is a bracket as text.',
  });
}

/** Refuses a weight that is no finite number of a sane size. @throws invalidPositivePrompt, invalidNegativePrompt */
export function checkWeight(field: PromptField, weight: number, what: string): void {
  if (Math.abs(weight) <= WEIGHT_LIMIT) return;
  throw promptError(field, `the weight of ${what} is ${weight}; it must be from -${WEIGHT_LIMIT} to ${WEIGHT_LIMIT}.`);
}

/** A text, for messages. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
