/** @file Which words of a prompt stand for an embedding: as it was registered, or as its file or its name says. */
import type { EmbeddingFile } from '../assets/embedding-file.js';
import { parseModelReference } from '../models/air.js';

/** Names that training scripts give to every file. */
const NAMELESS = /^(learned_embeds?([-_].*)?|emb_params|embeddings?|((diffusion_)?pytorch_)?model)$/i;
/** Longer "words" are no words. */
const MAX_LENGTH = 200;

/**
 * The words, the embedding's own first: those that it was registered with; then the token that the file names, or else the name in the
 * request (if that is a name) and the file's. None where nothing but an identifier is known.
 * @param reference the request's `model`
 * @param registered trigger words of the registry
 * @example triggersOf(file, 'civitai:7808@9208', ['easynegative']) // ['easynegative', …the file's name]
 */
export function triggersOf(
  { token, stem }: Pick<EmbeddingFile, 'token' | 'stem'>,
  reference: string,
  registered: readonly string[] = [],
): readonly string[] {
  const parsed = parseModelReference(reference, 'embeddings');
  const names = [...(parsed.kind === 'name' ? [parsed.name] : []), ...(NAMELESS.test(stem) ? [] : [stem])];
  const words = [...registered, ...(token === undefined ? names : [token])]
    .map((word) => word.trim())
    .filter((word) => word !== '' && word.length <= MAX_LENGTH);
  const folded = words.map((word) => word.toLowerCase());
  return words.filter((_, i) => folded.indexOf(folded[i] ?? '') === i);
}
