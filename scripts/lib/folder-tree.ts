/** @file A model on disk, a folder or one file, as a `FileTree`, for the command line and the tests. */
import { statSync, type Stats } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
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
      const paths: string[] = [];
      for await (const file of walk(root, '', 0)) {
        paths.push(file);
        if (paths.length > MAX_FILES) throw tooMany(root);
      }
      return paths;
    },
    ...(isFile ? { file: basename(path) } : {}),
  };
}

/** A model folder has a few dozen files; the root of a disk, chosen by mistake, has more than these. */
const MAX_FILES = 5_000;
const MAX_DEPTH = 6;

/** The files in a folder, as paths from `root` on. Links to folders are not followed: they may lead in a circle. */
async function* walk(root: string, prefix: string, depth: number): AsyncGenerator<string> {
  const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const path = `${prefix}${entry.name}`;
    const link = entry.isSymbolicLink() ? await stat(join(root, path)).catch(() => undefined) : undefined;
    if (entry.isFile() || link?.isFile() === true) yield path;
    else if (entry.isDirectory() && depth < MAX_DEPTH) yield* walk(root, `${path}/`, depth + 1);
  }
}

function tooMany(root: string): Error {
  return fail('invalidModel', `${root} holds more than ${MAX_FILES} files; expected the folder of one model.`, {
    parameter: 'model',
  });
}

/** What the system says, as an error about the file. */
function unreadable(name: string, error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error);
  return fail('invalidModelFile', `${name} cannot be read: ${reason}.`, { cause: error });
}

function diskSource(name: string, file: string, { size, mtimeMs }: Stats): ByteSource {
  const source: ByteSource = {
    name,
    size,
    identity: (signal) => sampledIdentity([file, mtimeMs], size, (start, end) => source.read(start, end, signal)),
    async read(start, end, signal, onBytes) {
      checkRange(name, size, start, end);
      throwIfAborted(signal);
      const handle = await open(file, 'r').catch((error: unknown) => {
        throw unreadable(name, error);
      });
      try {
        const bytes = new Uint8Array(end - start);
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start).catch((error: unknown) => {
          throw unreadable(name, error);
        });
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
