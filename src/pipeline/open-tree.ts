/** @file A model's reference → its files, and those of the models that lend it parts. */
import type { FileTree } from '../assets/source.js';
import { resolve, type ModelRegistry, type ResolvedModel, type Wanted } from '../models/registry.js';
import type { ModelTree } from './library.js';

export interface Trees {
  readonly registry: ModelRegistry;
  /** Opens one model's files. */
  readonly treeOf: (model: ResolvedModel) => FileTree;
  /** CLIP's published `merges.txt`. */
  readonly clipTokenizer: FileTree;
}

/** Closed, it closes all of them. @throws invalidModel, modelNotFound, unsupportedModel */
export function openTree({ registry, treeOf, clipTokenizer }: Trees, reference: string, wanted?: Wanted): ModelTree {
  const about = resolve(registry, reference, wanted);
  const tree = treeOf(about);
  const companions = about.companions.map((companion) => treeOf(resolve(registry, companion)));
  const close = (): void => {
    for (const each of [tree, ...companions]) each.close?.();
  };
  return { ...tree, close, about, clipTokenizer, companions };
}
