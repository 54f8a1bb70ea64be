/** @file compel's prompt syntax (github.com/damian0815/compel, v2.5.1): text → fragments with weights, blends, conjunctions. */
import { createGrammar, parseCombination, parsePrompt, type Combination, type Node } from './compel-grammar.js';
import { skip } from './compel-scan.js';
import { promptError, quote, tooDeep, type PromptField } from './prompt-error.js';

/** Text that has one weight. The tokenizer sees each by itself. */
export interface Fragment {
  readonly text: string;
  readonly weight: number;
}

/** One clause of a prompt: fragments in a row, or the weighted sum of several such rows. */
export type CompelClause =
  | { readonly kind: 'fragments'; readonly fragments: readonly Fragment[] }
  | {
      readonly kind: 'blend';
      readonly prompts: readonly (readonly Fragment[])[];
      readonly weights: readonly number[];
      /** Whether the weights count by their share of their sum. */
      readonly normalize: boolean;
    };

/** What `.and()` joins; without it there is one clause, of weight 1. */
export interface CompelPrompt {
  readonly clauses: readonly CompelClause[];
  /** One per clause. */
  readonly weights: readonly number[];
}

/**
 * Parses a prompt, e.g. `parseCompel('a (red ball)1.3, at dusk-')`. Brackets, quotes and signs that form no syntax are text.
 * As in compel, `a,b` is `a, b`, and whatever follows `.and(…)` is left out.
 * @throws invalidPositivePrompt or invalidNegativePrompt, by `field`: nothing but `()`, a count of weights that is not the count
 * of prompts, text after `.blend(…)`, `.swap()`, `withLora()`, brackets nested too deep
 */
export function parseCompel(prompt: string, field: PromptField = 'positivePrompt'): CompelPrompt {
  const text = prompt.replace(/[\v\f]/g, ' ').replace(/,(\S)/gu, ', $1');
  if (text.trim() === '')
    return { clauses: [{ kind: 'fragments', fragments: [{ text: '', weight: 1 }] }], weights: [1] };
  const context: Context = { prompt, field };
  const grammar = createGrammar({
    text,
    depth: 0,
    locate: (at) => at - spacesAdded(prompt, at),
    tooDeep: (at) => tooDeep(field, prompt, at),
  });
  const parsed = parseConjunction(parseCombination(grammar, ['.and', '.add']), context) ??
    parseBlend(grammar.text, parseCombination(grammar, ['.blend']), context) ?? {
      clauses: toClauses([parsePrompt(grammar)], context).flatMap((clause) => clause ?? []),
      weights: [1],
    };
  if (parsed.clauses.length > 0) return parsed;
  throw promptError(field, `nothing is left of ${quote(prompt)}: its brackets are empty.`, {
    hint: '__BLANK__ is the empty prompt; \\( and \\) are brackets as text.',
  });
}

interface Context {
  readonly prompt: string;
  readonly field: PromptField;
}

/** How many spaces were put after commas before the place `at` of the changed text. */
function spacesAdded(prompt: string, at: number): number {
  let added = 0;
  for (const { index } of prompt.matchAll(/,\S/gu)) if (index + 1 + added < at) added++;
  return added;
}

/** `("a", "b").and(1, 0.5)`. */
function parseConjunction(found: Combination | undefined, context: Context): CompelPrompt | undefined {
  if (found === undefined) return undefined;
  const weights = readWeights('.and()', found, found.options, context);
  const clauses = toClauses(found.prompts, context);
  // clauses that say nothing, such as (), go, and their weights with them
  return {
    clauses: clauses.flatMap((clause) => clause ?? []),
    weights: weights.filter((_, i) => clauses[i] !== undefined),
  };
}

/** `("a", "b").blend(1, 0.8)`, `….blend(1, 0.8, no_normalize)`. */
function parseBlend(text: string, found: Combination | undefined, context: Context): CompelPrompt | undefined {
  if (found === undefined) return undefined;
  const { prompt, field } = context;
  if (skip(text, found.end) < text.length) {
    throw promptError(field, `${quote(text.slice(found.end).trim())} follows .blend(…), which must end the prompt.`, {
      hint: 'Put the words into each of the blended prompts.',
    });
  }
  const normalize = found.options.at(-1) !== 'no_normalize';
  const weights = readWeights('.blend()', found, normalize ? found.options : found.options.slice(0, -1), context);
  const prompts = found.prompts.map((nodes) => flatten(nodes, { prompt, field }));
  if (prompts.some((fragments) => fragments.length === 0))
    throw promptError(field, 'one of the prompts of .blend() is empty brackets; "" is an empty prompt.');
  return { clauses: [{ kind: 'blend', prompts, weights, normalize }], weights: [1] };
}

/** One number per prompt; none at all is 1 for each. */
function readWeights(
  operator: string,
  { prompts }: Combination,
  options: readonly (number | string)[],
  { field }: Context,
): readonly number[] {
  const weights = options.map((option) => {
    if (typeof option === 'number') return option;
    throw promptError(field, `${operator} got ${JSON.stringify(option)} where a weight is expected.`, {
      hint: 'The weights are numbers; the last option of .blend() may be no_normalize.',
    });
  });
  if (weights.length === 0) return prompts.map(() => 1);
  if (weights.length === prompts.length) return weights;
  throw promptError(field, `${operator} got ${weights.length} weights for ${prompts.length} prompts.`, {
    hint: 'Give one weight per prompt, or none.',
  });
}

/** A clause per prompt; undefined for one that has no fragment, not even an empty one. */
function toClauses(prompts: readonly (readonly Node[])[], context: Context): readonly (CompelClause | undefined)[] {
  return prompts.map((nodes) => {
    const fragments = flatten(nodes, context);
    return fragments.length === 0 ? undefined : { kind: 'fragments', fragments };
  });
}

/** The tree's leaves, each with the product of the weights around it; neighbours of equal weight are joined by a space. */
function flatten(nodes: readonly Node[], context: Context): readonly Fragment[] {
  const joined: { texts: string[]; readonly weight: number }[] = [];
  const visit = (node: Node, weight: number): void => {
    switch (node.kind) {
      case 'text': {
        const last = joined.at(-1);
        if (last?.weight === weight) last.texts.push(unescape(node.text));
        else joined.push({ texts: [unescape(node.text)], weight });
        return;
      }
      case 'weighted':
        for (const child of node.children) visit(child, weight * node.weight);
        return;
      case 'swap':
      case 'lora':
        throw unsupported(node, context);
      default:
        node satisfies never;
    }
  };
  for (const node of nodes) visit(node, 1);
  return joined.map(({ texts, weight }) => ({ text: texts.join(' '), weight }));
}

/** Other backslashes stay. Twice, as in compel: the tree's leaves are made there, and made again when it is flattened. */
function unescape(text: string): string {
  const once = (s: string): string => s.replaceAll('\\(', '(').replaceAll('\\)', ')').replaceAll('\\"', '"');
  return once(once(text));
}

function unsupported({ kind, at }: { readonly kind: 'swap' | 'lora'; readonly at: number }, context: Context): Error {
  const { field, prompt } = context;
  return kind === 'swap'
    ? promptError(field, '.swap() changes words between steps, which Darkroom does not do.', {
        prompt,
        at,
        hint: 'Use ("one", "other").blend(1, 1), or escape the brackets with \\( and \\).',
      })
    : promptError(field, 'Darkroom takes no LoRA from the prompt.', {
        prompt,
        at,
        hint: 'Name it in the parameter "lora", with its weight.',
      });
}
