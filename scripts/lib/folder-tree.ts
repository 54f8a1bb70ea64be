/** @file A model on disk, a folder or one file, as a `FileTree`, for the command line and the tests. */
import { statSync, type Stats } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { fail, throwIfAborted } from '../../src/base/errors.js';
import { sampledIdentity } from '../../src/assets/file-identity.js';
import type { ByteSource, FileTree } from '../../src/assets/source.js';
import { pathSegments, checkRange } from '../../src/assets/byte-source.js';

/**
 * The tree of a folder; of a file, the tree of the folder it is in. Paths that leave the folder are refused by `pathSegments`.
 * Files are opened for each read, so none stays open.
 */
export function folderTree(path: string): FileTree {
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  const root = isFile ? dirname(path) : path;
  const name = basename(root);
  return {
    name,
    async open(inside) {
      const file = join(root, ...pathSegments(inside));
      const info = await stat(file).catch(() => undefined);
      return info?.isFile() === true ? diskSource(`${name}/${inside}`, file, info) : undefined;
    },
    async list() {
      const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'));
    },
    ...(isFile ? { file: basename(path) } : {}),
  };
}

function diskSource(name: string, file: string, { size, mtimeMs }: Stats): ByteSource {
  const source: ByteSource = {
    name,
    size,
    identity: (signal) => sampledIdentity([file, mtimeMs], size, (start, end) => source.read(start, end, signal)),
    async read(start, end, signal, onBytes) {
      checkRange(name, size, start, end);
      throwIfAborted(signal);
      const handle = await open(file, 'r');
      try {
        const bytes = new Uint8Array(end - start);
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
        if (bytesRead !== bytes.length)
          throw fail('invalidModelFile', `${name} ended at byte ${start + bytesRead}; it changed while it was read.`);
        onBytes?.(bytesRead);
        return bytes;
      } finally {
        await handle.close();
      }
    },
  };
  return source;
}
