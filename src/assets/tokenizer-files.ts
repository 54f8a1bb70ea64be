/** @file Finds and reads the files of a tokenizer folder; what they mean is for `text/`. */
import { fail } from '../base/errors.js';
import { openUnlessMarkup } from './file-kind.js';
import type { FileTree } from './source.js';
import { CONFIG_LIMIT, readJson, readText, TABLE_LIMIT } from './text-file.js';

/** Where the vocabulary is: in the two files of CLIP's own format, or in one `tokenizer.json`. */
export type VocabularyFiles =
  | { readonly kind: 'vocab'; readonly vocab: unknown; readonly merges: string }
  | { readonly kind: 'tokenizerJson'; readonly json: unknown };

/** A tokenizer's files, JSON parsed but not looked into. */
export interface TokenizerFiles {
  /** For messages. */
  readonly name: string;
  readonly vocabulary: VocabularyFiles;
  /** `tokenizer_config.json` and `special_tokens_map.json`; both are optional. */
  readonly config: unknown;
  readonly specialTokens: unknown;
}

/** @throws missingModelFile when there is neither vocab.json with merges.txt nor tokenizer.json; invalidModelConfig */
export async function readTokenizerFiles(
  tree: FileTree,
  folder: string,
  signal?: AbortSignal,
): Promise<TokenizerFiles> {
  const json = async (file: string, limit: number): Promise<unknown> => {
    const source = await openUnlessMarkup(tree, `${folder}/${file}`, signal);
    return source && readJson(source, limit, signal);
  };
  const [vocabulary, config, specialTokens] = await Promise.all([
    readVocabulary(tree, folder, json, signal),
    json('tokenizer_config.json', CONFIG_LIMIT),
    json('special_tokens_map.json', CONFIG_LIMIT),
  ]);
  return { name: `${tree.name}/${folder}`, vocabulary, config, specialTokens };
}

async function readVocabulary(
  tree: FileTree,
  folder: string,
  json: (file: string, limit: number) => Promise<unknown>,
  signal: AbortSignal | undefined,
): Promise<VocabularyFiles> {
  const mergesSource = await openUnlessMarkup(tree, `${folder}/merges.txt`, signal);
  const vocab = mergesSource && (await json('vocab.json', TABLE_LIMIT));
  if (mergesSource !== undefined && vocab !== undefined) {
    return { kind: 'vocab', vocab, merges: await readText(mergesSource, TABLE_LIMIT, signal) };
  }
  const whole = await json('tokenizer.json', TABLE_LIMIT);
  if (whole !== undefined) return { kind: 'tokenizerJson', json: whole };
  throw fail(
    'missingModelFile',
    `${tree.name} has neither ${folder}/vocab.json with ${folder}/merges.txt nor ${folder}/tokenizer.json.`,
  );
}
