/** @file What lies beside a model of one file: a folder `config/` with diffusers' configs and tokenizers, and our card. All of it is optional. */
import { parseCard, type ModelCard } from '../models/card.js';
import { openUnlessMarkup } from './file-kind.js';
import type { FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';

/** `config/`, when it has a model_index.json. @throws downloadFailed, aborted */
export async function configFolder(tree: FileTree, signal: AbortSignal | undefined): Promise<FileTree | undefined> {
  if ((await openUnlessMarkup(tree, 'config/model_index.json', signal)) === undefined) return undefined;
  return {
    name: `${tree.name}/config`,
    open: (path, openSignal, onBytes) => tree.open(`config/${path}`, openSignal, onBytes),
  };
}

/** The JSON at `path` of a folder, where there are both. @throws invalidModelConfig, downloadFailed, aborted */
export async function readOptionalJson(
  folder: FileTree | undefined,
  path: string,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const source = folder && (await openUnlessMarkup(folder, path, signal));
  return source && readJson(source, CONFIG_LIMIT, signal);
}

/** `card.json` of the first of these folders that has one. @throws invalidModelConfig, downloadFailed, aborted */
export async function firstCard(
  folders: readonly (FileTree | undefined)[],
  signal: AbortSignal | undefined,
): Promise<ModelCard | undefined> {
  for (const folder of folders) {
    const source = folder && (await openUnlessMarkup(folder, 'card.json', signal));
    if (source !== undefined) return parseCard(await readJson(source, CONFIG_LIMIT, signal), source.name);
  }
  return undefined;
}
