/** @file Runs fuzz targets in turn and reports: how many inputs, how many were accepted, how long they took, and what went wrong with which. */
import { randomFrom, seedOf } from './fuzz-random.js';
import type { Target, Verdict } from './fuzz-target.js';

export interface KindReport {
  readonly kind: string;
  accepted: number;
  refused: number;
  slowestMs: number;
}

export interface Failure {
  readonly kind: string;
  /** The command's arguments that make this input again. */
  readonly again: string;
  readonly what: string;
}

export interface FuzzReport {
  readonly inputs: number;
  readonly kinds: readonly KindReport[];
  readonly failures: readonly Failure[];
}

export interface FuzzOptions {
  readonly targets: readonly Target[];
  /** Inputs in all. */
  readonly count: number;
  /** No input is begun after so long. */
  readonly forMs?: number | undefined;
  readonly seed: number;
  /** Of each kind, the first input. */
  readonly from?: number;
  /** Longer than this is a defect. */
  readonly limitMs?: number;
  /** Told of each input before it is read. */
  readonly onInput?: (kind: number, nth: number) => void;
  /** Told of each failure as it comes: a run may take hours. */
  readonly onFailure?: (failure: Failure) => void;
}

/** Enough on a busy machine; a reader whose time grows with the square of its input takes longer. */
const LIMIT_MS = 5_000;

/** Input `i` of a kind depends on the seed, the kind and `i` alone. */
export async function fuzz({
  targets,
  count,
  forMs = Infinity,
  seed,
  from = 0,
  limitMs = LIMIT_MS,
  onInput,
  onFailure,
}: FuzzOptions): Promise<FuzzReport> {
  const kinds = targets.map(({ kind }): KindReport => ({ kind, accepted: 0, refused: 0, slowestMs: 0 }));
  const failures: Failure[] = [];
  const start = performance.now();
  let inputs = 0;
  for (let i = 0; i < count && performance.now() - start < forMs; i++) {
    const which = i % targets.length;
    const nth = from + Math.floor(i / targets.length);
    const [target, report] = [targets[which], kinds[which]];
    if (target === undefined || report === undefined) break;
    onInput?.(which, nth);
    inputs++;
    const failed = (what: string): void => {
      const failure = { kind: target.kind, again: argumentsFor(target.kind, seed, nth), what };
      failures.push(failure);
      onFailure?.(failure);
    };
    const read = () => timed(() => target.run(randomFrom(seedOf(target.kind, seed, nth))));
    const first = await read();
    if (first.verdict === undefined) failed(first.problem ?? '');
    else report[first.verdict]++;
    // What is slow by itself is slow twice.
    const most = target.limitMs ?? limitMs;
    const ms = first.ms > most ? Math.min(first.ms, (await read()).ms) : first.ms;
    report.slowestMs = Math.max(report.slowestMs, ms);
    if (ms > most) failed(`took ${Math.round(ms)} ms; ${most} are allowed`);
  }
  return { inputs, kinds, failures };
}

/** What came of reading one input, and how long it was computed: of a busy machine a process may get little. */
async function timed(
  run: () => Promise<Verdict>,
): Promise<{ readonly verdict?: Verdict; readonly problem?: string; readonly ms: number }> {
  const begin = performance.now();
  const used = process.cpuUsage();
  const ms = (): number => {
    const { user, system } = process.cpuUsage(used);
    return Math.min(performance.now() - begin, (user + system) / 1000);
  };
  try {
    const verdict = await run();
    return { verdict, ms: ms() };
  } catch (error) {
    const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { problem, ms: ms() };
  }
}

export function argumentsFor(kind: string, seed: number, nth: number): string {
  return `--only ${kind} --seed ${seed} --from ${nth} --count 1`;
}
