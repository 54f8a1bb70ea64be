/** @file The unit goldens, one building block each: conversions, block formats, tables, flow schedules, T5's encoder, products with packed matrices. */
import { toWireErrors } from '../../src/base/errors.js';
import type { Runtime } from '../../src/runtime/runtime.js';
import type { GoldenFolder } from './files.js';
import { outcomeOf, type Comparison, type Outcome } from './report.js';
import { compareSchedules, compareTrajectories } from './unit-flow.js';
import { comparePacked, compareT5 } from './unit-graphs.js';
import { compareConversions, compareGguf, compareTables } from './unit-values.js';

export interface UnitDeps {
  readonly folder: GoldenFolder;
  /** Made when the first graph runs. */
  readonly runtime: () => Promise<Runtime>;
}

type Unit = (deps: UnitDeps, path: string) => Promise<readonly Comparison[]>;

const UNITS: Readonly<Record<string, Unit>> = {
  conversions: ({ folder }, path) => compareConversions(folder, path),
  gguf: ({ folder }, path) => compareGguf(folder, path),
  tables: ({ folder }, path) => compareTables(folder, path),
  'flow-schedules': async ({ folder }, path) => [
    ...(await compareSchedules(folder, path)),
    ...(await compareTrajectories(folder, path)),
  ],
  matmulnbits: async ({ folder, runtime }, path) => comparePacked(folder, path, await runtime()),
  't5-encoder': async ({ folder, runtime }, path) => compareT5(folder, path, await runtime()),
  't5-encoder-large-activations': async ({ folder, runtime }, path) => compareT5(folder, path, await runtime()),
};

/** Units that run graphs, and so depend on the backend. */
export const GRAPH_UNITS: readonly string[] = ['matmulnbits', 't5-encoder', 't5-encoder-large-activations'];

const NOT_BUILT: Readonly<Record<string, string>> = {
  'llama-encoder': 'Llama’s encoder, which HiDream reads, is not built yet',
  'llama-encoder-mqa': 'Llama’s encoder, which HiDream reads, is not built yet',
};

/** @param name of a folder of `unit/` */
export async function runUnit(deps: UnitDeps, name: string): Promise<Outcome> {
  const start = performance.now();
  const unit = Object.hasOwn(UNITS, name) ? UNITS[name] : undefined;
  const fail = (status: 'failed' | 'unsupported', message: string): Outcome => ({
    ...outcomeOf('unit', name, [], start),
    status,
    message,
  });
  if (unit === undefined) return fail('unsupported', NOT_BUILT[name] ?? 'a unit that this build does not know');
  try {
    return outcomeOf('unit', name, await unit(deps, `unit/${name}`), start);
  } catch (error) {
    return fail(
      'failed',
      toWireErrors(error)
        .map(({ code, message }) => `${code}: ${message}`)
        .join(' | '),
    );
  }
}
