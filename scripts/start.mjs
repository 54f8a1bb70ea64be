/** @file `npm start`: installs what is missing and serves the demo; Vite prints the address. Arguments go to Vite. */
import process from 'node:process';
import { ensureInstalled } from './install.mjs';
import { main, runNode } from './process.mjs';

await main(async () => {
  await ensureInstalled();
  return runNode(['node_modules/vite/bin/vite.js', ...process.argv.slice(2)]);
});
