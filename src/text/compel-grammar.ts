/**
 * @file compel's grammar: prompt text → a tree of weights. A parsing expression grammar (Ford 2004) that remembers what starts
 * where, so that it takes linear time. The rules are those of github.com/damian0815/compel, v2.5.1, prompt_parser.py
 * (`build_parser_syntax`), written again: the first rule that matches wins, and what no rule matches is text.
 */
import { literal, matchAt, PATTERN, readOptions, readWeight, skip, type Option } from './compel-scan.js';
import { DEPTH_LIMIT } from './prompt-error.js';

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'weighted'; readonly weight: number; readonly children: readonly Node[] }
  /** `.swap()` and `withLora()`: syntax that compel knows and Darkroom does not. */
  | { readonly kind: 'swap' | 'lora'; readonly at: number };

interface Match {
  /** The code unit after it. */
  readonly end: number;
  readonly nodes: readonly Node[];
}

/** Something in quotes, something in brackets or a word, with the operator that follows it, if any. */
interface Element extends Match {
  /** The same without the operator. */
  readonly target: Match;
  /** A word with nothing that follows. */
  readonly isPlainWord: boolean;
}

/** A text being parsed. */
export interface Grammar {
  readonly text: string;
  /** How many brackets are around the text. */
  readonly depth: number;
  /** The place in the prompt of a place in the text, for messages. */
  readonly locate: (at: number) => number;
  /** The error of brackets nested too deep. */
  readonly tooDeep: (at: number) => Error;
  /** What starts where, as far as it is known. */
  readonly elements: Map<number, Element | undefined>;
}

/** A grammar at the start of its `text`. */
export function createGrammar(options: Omit<Grammar, 'elements'>): Grammar {
  return { ...options, elements: new Map() };
}

/** A whole prompt. Nothing fails: what no rule matches is text up to the next white space. */
export function parsePrompt(g: Grammar): readonly Node[] {
  const nodes: Node[] = [];
  for (let at = skip(g.text, 0); at < g.text.length; at = skip(g.text, at)) {
    const element = parseElement(g, at, g.depth);
    const found = parseLora(g, at) ?? (element?.isPlainWord === false ? element : freeWord(g, at));
    append(nodes, found.nodes);
    at = found.end;
  }
  return nodes;
}

/** What stands in brackets or quotes: words, operators and, with `marks`, commas and full stops. Ends before anything else. */
function parseFragments(g: Grammar, start: number, depth: number, marks: boolean): Match {
  const nodes: Node[] = [];
  let end = start;
  for (;;) {
    const at = skip(g.text, end);
    const mark = g.text.charAt(at);
    const found =
      parseLora(g, at) ??
      parseElement(g, at, depth) ??
      (marks && (mark === ',' || mark === '.') ? textMatch(mark, at + 1) : undefined);
    if (found === undefined) return { end, nodes };
    append(nodes, found.nodes);
    end = found.end;
  }
}

/** Remembered, so that brackets that never close are looked into once, not once for each bracket around them. */
function parseElement(g: Grammar, at: number, depth: number): Element | undefined {
  if (!g.elements.has(at)) g.elements.set(at, readElement(g, at, depth));
  return g.elements.get(at);
}

function readElement(g: Grammar, at: number, depth: number): Element | undefined {
  const first = g.text.charAt(at);
  const isWord = first !== '"' && first !== '(';
  const target = isWord ? parseWord(g, at) : first === '"' ? parseQuoted(g, at, depth) : parseBrackets(g, at, depth);
  if (target === undefined) return undefined;
  const found = parseSwap(g, at, target.end, depth) ?? parseAttention(g, target, isWord);
  return { ...(found ?? target), target, isPlainWord: isWord && found === undefined };
}

function textMatch(text: string, end: number): Match {
  return { end, nodes: [{ kind: 'text', text }] };
}

function parseWord(g: Grammar, at: number): Match | undefined {
  const word = matchAt(PATTERN.word, g.text, at);
  return word === undefined ? undefined : textMatch(word, at + word.length);
}

function freeWord(g: Grammar, at: number): Match {
  const word = matchAt(PATTERN.toNextSpace, g.text, at) ?? '';
  return textMatch(word, at + word.length);
}

function parseBrackets(g: Grammar, at: number, depth: number): Match | undefined {
  if (depth >= DEPTH_LIMIT) throw g.tooDeep(g.locate(at));
  const inside = parseFragments(g, at + 1, depth + 1, true);
  const end = literal(g.text, inside.end, ')');
  return end === undefined ? undefined : { end, nodes: inside.nodes };
}

/** Quotes around what could stand in brackets. */
function parseQuoted(g: Grammar, at: number, depth: number): Match | undefined {
  const quoted = unquote(g, at, depth);
  if (quoted === undefined) return undefined;
  const { inner, end } = quoted;
  if (inner.text.trim() === '') return textMatch('', end);
  const inside = parseFragments(inner, 0, depth, true);
  return skip(inner.text, inside.end) === inner.text.length ? { end, nodes: inside.nodes } : undefined;
}

/** Quotes around a whole prompt, which only `.blend()` and `.and()` take. */
function parseQuotedPrompt(g: Grammar, at: number): Match | undefined {
  const quoted = unquote(g, at, g.depth);
  return quoted && { end: quoted.end, nodes: parsePrompt(quoted.inner) };
}

/** What is between quotes. Quotes in it stay escaped, hence they nest but once. */
function unquote(g: Grammar, at: number, depth: number): { readonly inner: Grammar; readonly end: number } | undefined {
  const quoted = matchAt(PATTERN.quoted, g.text, at);
  if (quoted === undefined) return undefined;
  // \t and its like are white space between quotes, as in pyparsing's QuotedString
  const text = quoted
    .slice(1, -1)
    .replace(/\\[tnfr]/g, ' ')
    .replace(/\\?"/g, '\\"');
  return {
    inner: createGrammar({ text, depth, tooDeep: g.tooDeep, locate: () => g.locate(at) }),
    end: at + quoted.length,
  };
}

/** `target.attend(1.2)`, `target+`, `target--`; a number may follow quotes and brackets, but no word: `(a cat)1.2`. */
function parseAttention(g: Grammar, target: Match, isWord: boolean): Match | undefined {
  const weigh = (weight: number, end: number): Match => ({
    end,
    nodes: [{ kind: 'weighted', weight, children: target.nodes }],
  });
  const open = literal(g.text, target.end, '.attend', '(');
  const argument = open === undefined ? undefined : readWeight(g.text, skip(g.text, open), true);
  const close = argument && literal(g.text, argument.end, ')');
  if (argument !== undefined && close !== undefined) return weigh(argument.weight, close);
  const operator = readWeight(g.text, target.end, !isWord);
  return operator && weigh(operator.weight, operator.end);
}

/** `target.swap(other words, s_start=0.2)`: cross-attention control. */
function parseSwap(g: Grammar, at: number, targetEnd: number, depth: number): Match | undefined {
  const open = literal(g.text, targetEnd, '.swap', '(');
  if (open === undefined) return undefined;
  if (depth >= DEPTH_LIMIT) throw g.tooDeep(g.locate(at));
  const other = parseFragments(g, open, depth + 1, false);
  const comma = literal(g.text, other.end, ',');
  const close = literal(g.text, comma === undefined ? other.end : readOptions(g.text, comma).end, ')');
  return close === undefined ? undefined : { end: close, nodes: [{ kind: 'swap', at: g.locate(at) }] };
}

/** `withLora(name, 0.5)`, `useLora(name)`. */
function parseLora(g: Grammar, at: number): Match | undefined {
  const open = literal(g.text, at, 'useLora', '(') ?? literal(g.text, at, 'withLora', '(');
  if (open === undefined) return undefined;
  const start = skip(g.text, open);
  const name = matchAt(PATTERN.keyword, g.text, start);
  if (name === undefined) return undefined;
  const comma = literal(g.text, start + name.length, ',');
  const weightAt = comma === undefined ? start + name.length : skip(g.text, comma);
  const weight = comma === undefined ? '' : matchAt(PATTERN.number, g.text, weightAt);
  const close = weight === undefined ? undefined : literal(g.text, weightAt + weight.length, ')');
  return close === undefined ? undefined : { end: close, nodes: [{ kind: 'lora', at: g.locate(at) }] };
}

/** Several prompts and an operator's options: `("a cat", "a dog").blend(1, 0.8)`. */
export interface Combination {
  readonly prompts: readonly (readonly Node[])[];
  readonly options: readonly Option[];
  readonly end: number;
}

/** A list in brackets at the start of the text, then one of `operators`. */
export function parseCombination(g: Grammar, operators: readonly string[]): Combination | undefined {
  const prompts: (readonly Node[])[] = [];
  let end = 0;
  for (let from = literal(g.text, 0, '('); from !== undefined; from = literal(g.text, end, ',')) {
    const at = skip(g.text, from);
    const target = parseElement(g, at, g.depth)?.target ?? parseQuotedPrompt(g, at);
    if (target === undefined) return undefined;
    prompts.push(target.nodes);
    end = target.end;
  }
  const openings = operators.map((operator) => literal(g.text, end, ')', operator, '('));
  const open = openings.find((place) => place !== undefined);
  if (open === undefined || prompts.length === 0) return undefined;
  const { options, end: last } = readOptions(g.text, open);
  const close = literal(g.text, last, ')');
  return close === undefined ? undefined : { prompts, options, end: close };
}

function append(nodes: Node[], more: readonly Node[]): void {
  for (const node of more) nodes.push(node);
}
