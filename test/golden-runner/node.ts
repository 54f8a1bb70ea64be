/** @file The golden runner in Node: a goldens folder on disk, the CPU build of ONNX Runtime. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import type { GoldenFolder } from './files.js';
import type { EngineFor } from './run-case.js';

export function nodeFolder(root: string): GoldenFolder {
  return {
    read: async (path) => new Uint8Array(await readFile(join(root, path))),
    tree: (path) => folderTree(join(root, path)),
  };
}

/** Engines of the CPU backend; one is kept as long as cases name the same models. */
export function nodeEngines(root: string): { readonly engineFor: EngineFor; readonly dispose: () => Promise<void> } {
  let current: { readonly key: string; readonly engine: ReturnType<typeof createNodeEngine> } | undefined;
  return {
    async engineFor(models, base) {
      const key = JSON.stringify([models, base]);
      if (current?.key !== key) {
        await current?.engine.dispose();
        const paths = Object.fromEntries(Object.entries(models).map(([name, path]) => [name, join(root, path)]));
        const options = { models: paths, ...(base === undefined ? {} : { base: join(root, base) }) };
        current = { key, engine: createNodeEngine(options) };
      }
      return current.engine;
    },
    dispose: async () => current?.engine.dispose(),
  };
}
