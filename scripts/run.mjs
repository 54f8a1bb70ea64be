/** @file `node scripts/run.mjs <file.ts> …args`: installs what is missing and runs a TypeScript file; arguments and exit status pass through. */
import { resolve } from 'node:path';
import process from 'node:process';
import { ensureInstalled } from './install.mjs';
import { ROOT, main, runNode } from './process.mjs';

await main(async () => {
  const [file, ...args] = process.argv.slice(2);
  if (file === undefined) throw new Error('which file? usage: node scripts/run.mjs <file.ts> …args');
  await ensureInstalled();
  return runNode(['--import', import.meta.resolve('tsx'), resolve(ROOT, file), ...args], { cwd: process.cwd() });
});
