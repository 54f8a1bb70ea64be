/**
 * @file `npm run goldens -- DIR [--only PATTERN] [--backend wasm|webgpu]`: checks this build against a goldens folder, with every
 * intermediate a case holds. Exit status 1 when one is out of tolerance.
 */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { nodeEngines, nodeFolder } from '../test/golden-runner/node.js';
import { describeOutcome, type Outcome } from '../test/golden-runner/report.js';
import { runCase } from '../test/golden-runner/run-case.js';
import type { GoldenFolder } from '../test/golden-runner/files.js';
import { runSchedulerTables } from '../test/golden-runner/run-scheduler-tables.js';
import { runVariant, schedulerVariants } from '../test/golden-runner/run-schedulers.js';
import { openSchedulerGoldens } from '../test/golden-runner/scheduler-goldens.js';
import { listFiles, runFile } from '../test/golden-runner/run-files.js';
import { runNoise, runTokens } from '../test/golden-runner/run-tables.js';
import { GRAPH_UNITS, runUnit } from '../test/golden-runner/run-units.js';
import { runWeights, WEIGHT_KINDS } from '../test/golden-runner/run-weights.js';
import { loadOrtInNode } from '../src/runtime/ort-node.js';
import { createRuntime } from '../src/runtime/runtime.js';
import type { Harness } from './page/harness.js';
import { openServedPage } from './lib/served-page.js';

const USAGE = `Usage: npm run goldens -- DIR [--only PATTERN] [--backend wasm|webgpu]
  DIR        a folder with noise/, tokens/, weights/, schedulers/, unit/, cases/ and models/ (each is optional)
  --only     regular expression on KIND/NAME, for example "cases/sd15", "unit/gguf" or "files/flux1" (a model's files.json)
  --backend  wasm (Node, the default) or webgpu (headless Chromium)`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      backend: { type: 'string', default: 'wasm' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [dir] = positionals;
  if (
    values.help === true ||
    dir === undefined ||
    positionals.length > 1 ||
    !['wasm', 'webgpu'].includes(values.backend)
  ) {
    console.error(USAGE);
    return values.help === true ? 0 : 2;
  }
  const root = resolve(dir);
  if (!(await exists(root))) {
    console.error(`No such folder: ${dir}\n${USAGE}`);
    return 2;
  }
  const wanted = new RegExp(values.only ?? '');
  const outcomes: Outcome[] = [];
  const show = (outcome: Outcome): void => {
    outcomes.push(outcome);
    console.log(describeOutcome(outcome));
  };
  const folder = nodeFolder(root);
  if (wanted.test('noise/noise.json') && (await exists(join(root, 'noise/noise.json')))) show(await runNoise(folder));
  if (
    (wanted.test('tokens/clip') || wanted.test('tokens/clip2')) &&
    (await exists(join(root, 'tokens/prompts.json')))
  ) {
    for (const outcome of await runTokens(folder)) show(outcome);
  }
  const weightings = WEIGHT_KINDS.filter((kind) => wanted.test(`weights/${kind}`));
  if (weightings.length > 0 && (await exists(join(root, 'weights/prompts.json'))))
    for (const outcome of await runWeights(folder, weightings)) show(outcome);
  if (await exists(join(root, 'schedulers/cases.json'))) await runSchedulers(folder, wanted, show);
  await runFiles(folder, await foldersOf(root, 'models'), wanted, show);
  const onGpu = values.backend === 'webgpu';
  const units = (await foldersOf(root, 'unit')).filter((name) => wanted.test(`unit/${name}`));
  const cases = (await foldersOf(root, 'cases')).filter((name) => wanted.test(`cases/${name}`));
  await runUnits(
    folder,
    units.filter((name) => !onGpu || !GRAPH_UNITS.includes(name)),
    show,
  );
  if (onGpu) await runInChromium(root, { units: units.filter((name) => GRAPH_UNITS.includes(name)), cases }, show);
  else await runInNode(root, cases, show);
  return summarise(outcomes);
}

async function runSchedulers(folder: GoldenFolder, wanted: RegExp, show: (outcome: Outcome) => void): Promise<void> {
  const goldens = await openSchedulerGoldens(folder);
  if (wanted.test('schedulers/tables')) show(await runSchedulerTables(goldens));
  for (const variant of schedulerVariants(goldens))
    if (wanted.test(`schedulers/${variant}`)) show(await runVariant(goldens, variant));
}

async function foldersOf(root: string, kind: string): Promise<readonly string[]> {
  const entries = await readdir(join(root, kind), { withFileTypes: true }).catch(() => []);
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

/** Of every model that has a files.json. */
async function runFiles(
  folder: GoldenFolder,
  models: readonly string[],
  wanted: RegExp,
  show: (outcome: Outcome) => void,
): Promise<void> {
  for (const model of models) {
    const files = await listFiles(folder, `models/${model}`).catch(() => []);
    for (const name of files) if (wanted.test(`files/${name}`)) show(await runFile(folder, `models/${model}`, name));
  }
}

/** Of these units those with graphs run on the CPU build. */
async function runUnits(
  folder: GoldenFolder,
  units: readonly string[],
  show: (outcome: Outcome) => void,
): Promise<void> {
  const runtime = createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  for (const name of units) show(await runUnit({ folder, runtime: () => runtime }, name));
  await (await runtime).dispose();
}

async function runInNode(root: string, cases: readonly string[], show: (outcome: Outcome) => void): Promise<void> {
  const engines = nodeEngines(root);
  for (const name of cases) show(await runCase(nodeFolder(root), name, engines.engineFor));
  await engines.dispose();
}

async function runInChromium(
  root: string,
  { units, cases }: { readonly units: readonly string[]; readonly cases: readonly string[] },
  show: (outcome: Outcome) => void,
): Promise<void> {
  if (units.length + cases.length === 0) return;
  const served = await openServedPage({ goldens: root });
  try {
    for (const name of units) {
      show(await served.page.evaluate((n) => (Reflect.get(globalThis, 'harness') as Harness).runUnitGolden(n), name));
    }
    for (const name of cases) {
      show(
        await served.page.evaluate((n) => (Reflect.get(globalThis, 'harness') as Harness).runGolden(n, 'webgpu'), name),
      );
    }
  } finally {
    await served.close();
  }
}

function summarise(outcomes: readonly Outcome[]): number {
  const count = (status: Outcome['status']): number => outcomes.filter((o) => o.status === status).length;
  console.log(
    `${count('passed')} passed, ${count('failed')} failed, ${count('unsupported')} not supported by this build`,
  );
  if (outcomes.length === 0) console.error('Nothing matched.');
  return count('failed') > 0 || outcomes.length === 0 ? 1 : 0;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

process.exitCode = await main();
