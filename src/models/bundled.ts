/** @file The models that come with the package: AIR and folder under `models/`. Data only. */

/** A model of the package. */
export interface BundledModel {
  readonly air: string;
  /** Folder name under `models/`. */
  readonly folder: string;
}

export const BUNDLED_MODELS = [{ air: 'darkroom:1@1', folder: 'tinyworld' }] as const satisfies readonly BundledModel[];
