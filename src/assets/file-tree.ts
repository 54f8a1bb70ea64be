/** @file File trees: from picked files, from memory, and from any `ModelSource`. The tree over a URL is in `url-tree.ts`. */
import { fail } from '../base/errors.js';
import type { ModelSource, PickedFile } from '../models/registry.js';
import { blobSource, memorySource, pathSegments } from './byte-source.js';
import type { FileTree } from './source.js';
import { addressTree, urlTree, type HttpDeps } from './url-tree.js';

/**
 * A tree over files that a person picked. Folders common to all paths are dropped, so that
 * `sd15/unet/config.json` (a File's `webkitRelativePath`) is opened as `unet/config.json`.
 * @throws modelNotFound when there is no file
 */
export function filesTree(name: string, files: readonly PickedFile[]): FileTree {
  const paths = files.map(({ path }) => path.split('/').filter((segment) => segment !== '' && segment !== '.'));
  const first = paths[0];
  if (first === undefined) throw fail('modelNotFound', `${name}: the list of files is empty.`);
  const root = commonFolders(paths, first);
  const blobs = new Map(files.map(({ file }, i) => [(paths[i] ?? []).slice(root).join('/'), file]));
  return {
    name,
    open: (path) =>
      new Promise((resolve) => {
        const blob = blobs.get(pathSegments(path).join('/'));
        resolve(blob && blobSource(`${name}/${path}`, blob));
      }),
    list: () => Promise.resolve([...blobs.keys()]),
  };
}

/** How many leading folders all paths share; a path's last segment is its file. */
function commonFolders(paths: readonly (readonly string[])[], first: readonly string[]): number {
  let count = 0;
  const shared = (path: readonly string[]): boolean => path.length > count + 1 && path[count] === first[count];
  while (paths.every(shared)) count++;
  return count;
}

/** A tree over bytes in memory, keyed by path. */
export function memoryTree(name: string, files: Readonly<Record<string, Uint8Array>>): FileTree {
  const entries = new Map(Object.entries(files));
  return {
    name,
    open: (path) =>
      new Promise((resolve) => {
        const bytes = entries.get(pathSegments(path).join('/'));
        resolve(bytes && memorySource(`${name}/${path}`, bytes));
      }),
    list: () => Promise.resolve([...entries.keys()]),
  };
}

/** The tree of a registered model. @throws invalidModelFile for a malformed URL, modelNotFound for an empty list of files */
export function modelTree(name: string, source: ModelSource, deps: HttpDeps): FileTree {
  switch (source.kind) {
    case 'bundled':
      return addressTree(name, source.files, deps);
    case 'url':
      return urlTree(source.url, deps);
    case 'files':
      return filesTree(name, source.files);
    default:
      return source satisfies never;
  }
}
