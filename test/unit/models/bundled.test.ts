/** @file The bundled models: every file of their folders has its address, and nothing else has. */
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { BUNDLED_MODELS } from '../../../src/models/bundled.js';

const MODELS = fileURLToPath(new URL('../../../models', import.meta.url));

describe('bundled models', () => {
  it('have an address for each of their files', () => {
    const addresses = BUNDLED_MODELS.flatMap(({ files }) => Object.values(files)).map((url) => fileURLToPath(url));
    const folders = readdirSync(MODELS).filter((name) => existsSync(join(MODELS, name, 'model_index.json')));
    const onDisk = folders
      .flatMap((name) => readdirSync(join(MODELS, name), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`);
    expect(addresses.sort()).toEqual(onDisk.sort());
  });

  it('name each file by its path in the model’s folder', () => {
    for (const { files } of BUNDLED_MODELS) {
      for (const [path, url] of Object.entries(files)) {
        expect(relative(MODELS, fileURLToPath(url)).replaceAll('\\', '/').split('/').slice(1).join('/')).toBe(path);
      }
    }
  });
});
