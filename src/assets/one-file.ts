/** @file The one weights file of a tree: the file that was given, or the one in a folder or repo that its name or its loneliness tells. */
import { fail } from '../base/errors.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ByteSource, FileTree } from './source.js';

export interface WantedFile {
  /** For messages: `an embedding`. */
  readonly what: string;
  /** The request's parameter. */
  readonly parameter: string;
  /** Paths that training scripts give such files, the likeliest first; `NAME.safetensors` in a folder NAME comes before them. */
  readonly usual: readonly string[];
}

const WEIGHTS = /\.safetensors$/i;
const PICKLE = /\.(ckpt|pth?|bin)$/i;

/**
 * Finds the file; what it holds is not looked at. A pickle where there is nothing else is given too, to be refused by whoever reads it.
 * @throws missingModelFile, unsupportedModel when there are several, downloadFailed, aborted
 */
export async function findOneFile(tree: FileTree, wanted: WantedFile, signal?: AbortSignal): Promise<ByteSource> {
  const { asFile } = tree;
  const found =
    (await openFirst(tree, await candidates(tree, wanted, signal), signal)) ??
    (asFile?.file === undefined ? undefined : await openFirst(asFile, [asFile.file], signal));
  if (found !== undefined) return found;
  const { what, parameter, usual } = wanted;
  throw fail('missingModelFile', `${tree.name} has no file of ${what}, or only a web page of that name.`, {
    parameter,
    hint: `Give the address of the .safetensors file itself. In a folder, ${usual.join(' and ')} is looked for.`,
  });
}

async function openFirst(
  tree: FileTree,
  paths: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ByteSource | undefined> {
  for (const path of paths) {
    const source = await openUnlessMarkup(tree, path, signal);
    if (source !== undefined) return source;
  }
  return undefined;
}

/** Where the file may be, the likeliest first. Over a URL, which lists nothing, the usual places. */
async function candidates(
  tree: FileTree,
  wanted: WantedFile,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  if (tree.file !== undefined) return [tree.file];
  const folder = tree.name.replace(/\/+$/, '').replace(/^.*\//s, '');
  const usual = [`${folder}.safetensors`, ...wanted.usual];
  const listed = await tree.list?.(signal);
  if (listed === undefined) return usual;
  const known = usual.filter((path) => listed.includes(path));
  return known.length > 0 ? known : onlyFile(listed, tree.name, wanted);
}

/** The only weights among files that are in no folder. */
function onlyFile(listed: readonly string[], folder: string, { what, parameter }: WantedFile): readonly string[] {
  const here = listed.filter((path) => !path.includes('/'));
  const weights = here.filter((path) => WEIGHTS.test(path));
  if (weights.length === 0) return here.filter((path) => PICKLE.test(path)).slice(0, 1);
  if (weights.length === 1) return weights;
  const some = weights.slice(0, 5).join(', ') + (weights.length > 5 ? ', …' : '');
  throw fail(
    'unsupportedModel',
    `${folder} holds ${weights.length} .safetensors files (${some}); one file of ${what} was expected.`,
    { parameter, hint: 'Give the one file.' },
  );
}
