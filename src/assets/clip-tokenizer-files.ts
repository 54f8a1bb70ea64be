/** @file CLIP's published vocabulary, which checkpoints of one file do not carry: made from its list of merges alone. */
import { fail } from '../base/errors.js';
import type { FileTree } from './source.js';
import { readText, TABLE_LIMIT } from './text-file.js';
import type { TokenizerFiles } from './tokenizer-files.js';

/** Rows of a token table made for this vocabulary. */
export const CLIP_VOCABULARY_SIZE = 49408;

/**
 * The tokenizer of all models that were trained with CLIP's vocabulary.
 * @param tree holds `merges.txt`, the published one
 * @param pad the padding token: `<|endoftext|>`, or `!` for encoders of OpenCLIP
 * @throws missingModelFile, invalidModelConfig (not the published list)
 */
export async function readClipTokenizer(tree: FileTree, pad: string, signal?: AbortSignal): Promise<TokenizerFiles> {
  const source = await tree.open('merges.txt', signal);
  if (source === undefined) throw fail('missingModelFile', `${tree.name} has no merges.txt (CLIP's vocabulary).`);
  const merges = await readText(source, TABLE_LIMIT, signal);
  const vocab = clipVocabulary(merges);
  const size = Object.keys(vocab).length;
  if (size !== CLIP_VOCABULARY_SIZE) {
    throw fail(
      'invalidModelConfig',
      `${source.name} makes ${size} tokens; the published list makes ${CLIP_VOCABULARY_SIZE}.`,
    );
  }
  return {
    name: tree.name,
    vocabulary: { kind: 'vocab', vocab, merges },
    config: { model_max_length: 77, pad_token: pad },
    specialTokens: undefined,
  };
}

/**
 * Token → id: the 256 byte characters, those again as ends of words, what each merge makes, then begin and end.
 * github.com/openai/CLIP, `clip/simple_tokenizer.py`.
 */
function clipVocabulary(merges: string): Readonly<Record<string, number>> {
  const pairs = merges.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'));
  const tokens = [
    ...BYTE_CHARACTERS,
    ...BYTE_CHARACTERS.map((character) => `${character}</w>`),
    ...pairs.map((pair) => pair.replace(' ', '')),
    '<|startoftext|>',
    '<|endoftext|>',
  ];
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

/** The characters that stand for bytes, in order of their ids: printable Latin-1, then U+0100 to U+0143 for the other 68 bytes. */
const BYTE_CHARACTERS: readonly string[] = [
  ...between(0x21, 0x7e),
  ...between(0xa1, 0xac),
  ...between(0xae, 0xff),
  ...between(0x100, 0x143),
];

function between(first: number, last: number): readonly string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => String.fromCharCode(first + i));
}
