/** @file A weight file alone, as if a diffusers folder lay beside it as `config/`: how goldens say where a file's configs are. */
import type { FileTree } from '../../src/assets/source.js';

/** Nothing else of the file's own folder is there. @param tree a tree whose `file` is the weight file */
export function fileWithConfigs(tree: FileTree, configs: FileTree): FileTree {
  const { file, name } = tree;
  if (file === undefined) return tree;
  return {
    name,
    file,
    open: (path, signal, onBytes) => {
      if (path === file) return tree.open(path, signal, onBytes);
      const inside = /^config\/(.+)$/.exec(path)?.[1];
      return inside === undefined ? Promise.resolve(undefined) : configs.open(inside, signal, onBytes);
    },
  };
}
