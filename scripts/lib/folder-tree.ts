/** @file A model folder on disk as a `FileTree`, for the command line and the tests. */
import { open, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fail } from '../../src/base/errors.js';
import type { FileTree } from '../../src/assets/source.js';
import { pathSegments, checkRange } from '../../src/assets/byte-source.js';

/** Paths that leave the folder are refused by `pathSegments`. Files are opened for each read, so none stays open. */
export function folderTree(root: string): FileTree {
  const name = basename(root);
  return {
    name,
    async open(path) {
      const file = join(root, ...pathSegments(path));
      const info = await stat(file).catch(() => undefined);
      if (info?.isFile() !== true) return undefined;
      const label = `${name}/${path}`;
      return {
        name: label,
        size: info.size,
        async read(start, end, signal, onBytes) {
          checkRange(label, info.size, start, end);
          signal?.throwIfAborted();
          const handle = await open(file, 'r');
          try {
            const bytes = new Uint8Array(end - start);
            const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
            if (bytesRead !== bytes.length)
              throw fail(
                'invalidModelFile',
                `${label} ended at byte ${start + bytesRead}; it changed while it was read.`,
              );
            onBytes?.(bytesRead);
            return bytes;
          } finally {
            await handle.close();
          }
        },
      };
    },
  };
}
