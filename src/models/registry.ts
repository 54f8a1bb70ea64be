/** @file Which names are known and where each one's files are. An immutable value: registering makes a new registry. */
import { fail } from '../base/errors.js';
import { BUNDLED_MODELS } from './bundled.js';

/** A file that a person picked, and its path within what was picked. */
export interface PickedFile {
  readonly path: string;
  readonly file: Blob;
}

/** Where a model's files are. Plain data that crosses to a worker by structured clone. */
export type ModelSource =
  | { readonly kind: 'bundled'; readonly files: Readonly<Record<string, string>> }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'files'; readonly files: readonly PickedFile[] };

/** AIR or free name → source. */
export type ModelRegistry = ReadonlyMap<string, ModelSource>;

/** The registry that holds the bundled models and nothing else. */
export function bundledRegistry(): ModelRegistry {
  return new Map(BUNDLED_MODELS.map(({ air, files }) => [air, { kind: 'bundled', files }]));
}

/** `registry` with `name` added, or replaced when it was there. @throws invalidModel for an empty name */
export function register(registry: ModelRegistry, name: string, source: ModelSource): ModelRegistry {
  const key = name.trim();
  if (key === '') throw fail('invalidModel', 'A model cannot be registered under an empty name.', { parameter: 'model' });
  return new Map([...registry, [key, source]]);
}

/** Where the files of `name` are. @throws modelNotFound, saying what is registered and how to register more */
export function resolve(registry: ModelRegistry, name: string): ModelSource {
  const source = registry.get(name.trim());
  if (source !== undefined) return source;
  const known = [...registry.keys()].map((key) => JSON.stringify(key)).join(', ');
  throw fail('modelNotFound', `No model is registered as ${JSON.stringify(name)}. Registered: ${known || 'none'}.`, {
    parameter: 'model',
    type: 'string',
    hint: "Register it under this name first, with its diffusers folder: the picked files, or the folder's URL.",
  });
}
