/** @file `npm run check:package`: packs the npm package and lets publint and attw judge the tarball. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureInstalled, runNpm } from './install.mjs';
import { isMain, main, runNode } from './process.mjs';

/**
 * Builds and packs the project.
 *
 * @param {string} folder where the tarball goes
 * @returns {Promise<string>} the tarball's path
 */
export async function packTarball(folder) {
  const status = await runNpm(['pack', '--pack-destination', folder, '--loglevel', 'error']);
  const [tarball, ...more] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  if (status !== 0 || tarball === undefined || more.length > 0)
    throw new Error(`npm pack failed with status ${status}`);
  return join(folder, tarball);
}

/** Whether every file that package.json names is there and is what it says. @param {string} tarball @returns exit status */
export function checkExports(tarball) {
  return runNode(['node_modules/publint/src/cli.js', 'run', tarball, '--strict'], { stdio: ['ignore', 2, 2] });
}

/** Whether TypeScript resolves every entry to the right types, in ES modules. @param {string} tarball @returns exit status */
export function checkTypes(tarball) {
  const attw = 'node_modules/@arethetypeswrong/cli/dist/index.js';
  return runNode([attw, tarball, '--profile', 'esm-only', '--format', 'ascii'], { stdio: ['ignore', 2, 2] });
}

if (isMain(import.meta.url)) {
  await main(async () => {
    await ensureInstalled();
    const folder = mkdtempSync(join(tmpdir(), 'darkroom-package-'));
    try {
      const tarball = await packTarball(folder);
      return (await checkExports(tarball)) || (await checkTypes(tarball));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
