/** @file Fuzz target: vocabularies and merges of few letters, so that merges collide, loop and miss; what is accepted gives the ids of the algorithm as it is printed. */
import { memoryTree } from '../../src/assets/file-tree.js';
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import type { Random } from './fuzz-random.js';
import { attempt, must, type Target } from './fuzz-target.js';

const LETTERS = ['a', 'b', 'c'];
const END = '</w>';
const TEXT = new TextEncoder();

interface Made {
  readonly vocab: readonly (readonly [token: string, id: unknown])[];
  readonly merges: readonly (readonly [left: string, right: string])[];
}

/** A vocabulary and merges that make each token of it, in an order in which they can be learned. */
function valid(random: Random): Made {
  const tokens = [...LETTERS, ...LETTERS.map((letter) => letter + END)];
  const merges: (readonly [string, string])[] = [];
  for (let n = random.int(24); n > 0; n--) {
    const left = random.pick(tokens.filter((token) => !token.endsWith(END)));
    const right = random.pick(tokens);
    if (left.length + right.length > 24 || tokens.includes(left + right)) continue;
    tokens.push(left + right);
    merges.push([left, right]);
  }
  return { vocab: [...tokens, '<|startoftext|>', '<|endoftext|>'].map((token, id) => [token, id]), merges };
}

function broken({ vocab, merges }: Made, random: Random): Made {
  const [words, pairs] = [[...vocab], [...merges]];
  const at = random.int(words.length);
  const to = random.int(pairs.length + 1);
  const [token = '', id = 0] = words[at] ?? [];
  switch (random.int(9)) {
    case 0:
      words.splice(at, 1);
      break;
    case 1:
      words[at] = [token, random.pick([-1, 0.5, 2 ** 20, 2 ** 53, null, '3', words.length + 5, random.int(words.length)])]; // prettier-ignore
      break;
    case 2:
      words.push([random.pick(['zz', 'ab', 'a</w>', '', ' ', '<|endoftext|>', '__proto__']), words.length]);
      break;
    case 3:
      pairs.splice(to, 1);
      break;
    case 4: // the same pair again, of another rank
      if (pairs.length > 0) pairs.splice(to, 0, random.pick(pairs));
      break;
    case 5:
      pairs.splice(to, 0, [random.pick(['a', 'q', '', 'a</w>']), random.pick(['b', 'q', 'a b', END])]);
      break;
    case 6:
      pairs.reverse();
      break;
    case 7:
      pairs.splice(to);
      break;
    default:
      words[at] = [token + random.pick(['\ud800', '</w>', 'x', '\n']), id];
  }
  return { vocab: words, merges: pairs };
}

/**
 * Algorithm 1 of Sennrich et al. 2016 without a heap, one pair at a time: the earliest merge, the leftmost of equals, as the tokenizers library has it.
 * (Where a merge comes before those that make its parts, merging a pair everywhere at once would differ.)
 */
function encode(word: string, ranks: ReadonlyMap<string, number>): readonly string[] {
  let symbols: readonly string[] = [...word].map((letter, i) => (i === word.length - 1 ? letter + END : letter));
  for (;;) {
    const found = symbols.slice(1).map((right, i) => ranks.get(`${symbols[i] ?? ''} ${right}`) ?? Infinity);
    const best = Math.min(Infinity, ...found);
    if (best === Infinity) return symbols;
    const at = found.indexOf(best);
    symbols = symbols.toSpliced(at, 2, symbols.slice(at, at + 2).join(''));
  }
}

export const bpeTarget: Target = {
  kind: 'bpe',
  async run(random) {
    const made = random.chance(0.4) ? valid(random) : broken(valid(random), random);
    const vocab = Object.fromEntries(made.vocab);
    const merges = ['#version: 0.2', ...made.merges.map((pair) => pair.join(' ')), ''].join('\n');
    const tree = memoryTree('model', {
      't/vocab.json': TEXT.encode(JSON.stringify(vocab)),
      't/merges.txt': TEXT.encode(merges),
    });
    const opened = await attempt(async () => createClipTokenizer(await readTokenizerFiles(tree, 't')));
    if (opened === undefined) return 'refused';
    const tokenizer = opened.value;
    const used = Object.values(vocab);
    const shown = (): string => JSON.stringify({ vocab, merges });
    must(new Set(used).size === used.length, () => `two tokens have one id: ${shown()}`);
    // Of a pair that comes twice the tokenizers library keeps the last rank.
    const ranks = new Map(made.merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
    for (let n = 0; n < 4; n++) {
      const word = Array.from({ length: 1 + random.int(40) }, () => random.pick(LETTERS)).join('');
      const ids = encode(word, ranks).map((token) => vocab[token]);
      const got = tokenizer.encode(word);
      // Letters that the vocabulary lacks are the unknown token, one a letter: another path.
      if (ids.every((id) => id !== undefined))
        must(
          JSON.stringify(got) === JSON.stringify(ids),
          () => `${word} gives ${got.join()}, not ${JSON.stringify(ids)}, of ${shown()}`,
        );
    }
    return 'accepted';
  },
};
