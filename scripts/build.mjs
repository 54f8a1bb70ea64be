/** @file `npm run build`: writes dist/, what the npm package holds: one ES module and its types per source file, and the bundled model. */
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { ensureInstalled } from './install.mjs';
import { withLock } from './lock.mjs';
import { ROOT, isMain, main, runNode } from './process.mjs';

/**
 * Builds beside dist/ and swaps at the end: a failed or interrupted build leaves the old dist/ whole.
 *
 * Files keep their places relative to each other, so that `new URL('../../workers/…', import.meta.url)` and
 * `new URL('../../models/…', import.meta.url)` name the same files in src/ and in dist/src/.
 *
 * @returns {Promise<number>} exit status of the compiler
 */
export function build() {
  return withLock('build', async () => {
    const [next, old, dist] = [join(ROOT, '.cache', 'dist-next'), join(ROOT, '.cache', 'dist-old'), join(ROOT, 'dist')];
    for (const folder of [next, old]) rmSync(folder, { recursive: true, force: true });
    const status = await runNode(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', next], {
      stdio: ['ignore', 2, 2], // `npm pack --json` reads our standard output
    });
    if (status !== 0) return status;
    mkdirSync(next, { recursive: true });
    copyModels(join(ROOT, 'models'), join(next, 'models'));
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(next, dist);
    rmSync(old, { recursive: true, force: true });
    return 0;
  });
}

/** Copies the models' folders, without what lies beside them. @param {string} from @param {string} to */
function copyModels(from, to) {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (entry.isDirectory()) cpSync(join(from, entry.name), join(to, entry.name), { recursive: true });
  }
}

if (isMain(import.meta.url)) {
  await main(async () => {
    if (process.argv.length > 2) throw new Error('the build takes no arguments');
    await ensureInstalled();
    return build();
  });
}
