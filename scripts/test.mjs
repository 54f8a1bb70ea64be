/**
 * @file `npm test`: installs what is missing and runs every tier, one after the other; the last line sums them. With arguments it
 * runs vitest once with those: `npm test -- --project unit test/unit/structure.test.ts`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { findOrInstallChromium } from './chromium.mjs';
import { ensureInstalled } from './install.mjs';
import { STOPPED, main, messageOf, readJson, runNode, say } from './process.mjs';
import { ONE_FAILURE, closingLine, sum, tallyReport } from './tally.mjs';

/** The projects of vitest.config.ts, cheapest first; the last two need a browser. */
const TIERS = ['unit', 'graph', 'package', 'browser'];
const NEED_CHROMIUM = ['package', 'browser'];

await main(async () => {
  await ensureInstalled();
  const chromium = await findOrInstallChromium().catch((error) => say(`darkroom: ${messageOf(error)}`));
  const env = { ...process.env, ...(chromium === undefined ? {} : { CHROMIUM_PATH: chromium }) };
  const tallies = [];
  for (const { name, args } of runsFor(process.argv.slice(2))) {
    const started = Date.now();
    const missing = chromium === undefined && NEED_CHROMIUM.includes(name);
    const { tally, status } = missing ? { tally: ONE_FAILURE, status: 1 } : await runVitest(args, env);
    const note = missing ? ' (no Chromium: this tier could not run and counts as one failure)' : '';
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    process.stdout.write(`${name}: ${closingLine(tally)} in ${seconds} s${note}\n`);
    tallies.push(tally);
    if (STOPPED.includes(status)) break;
  }
  const total = sum(tallies);
  process.stdout.write(`${closingLine(total)}\n`);
  return total.failed === 0 ? 0 : 1;
});

/** @param {readonly string[]} args of `npm test` */
function runsFor(args) {
  if (args.length > 0) return [{ name: 'selected', args }];
  return TIERS.map((name) => ({ name, args: ['--project', name] }));
}

/**
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
async function runVitest(args, env) {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-test-'));
  try {
    const output = join(folder, 'report.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${output}`];
    const status = await runNode(['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...args], { env });
    const report = /** @type {import('./tally.mjs').Report | undefined} */ (readJson(output)); // vitest's own file
    return { tally: tallyReport(report, status), status };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
