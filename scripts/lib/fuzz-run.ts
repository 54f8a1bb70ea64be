/** @file Runs fuzz targets in turn and reports: how many inputs, how many were accepted, how long they took, and what went wrong with which. */
import { randomFrom, seedOf } from './fuzz-random.js';
import type { Target } from './fuzz-target.js';

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
}: FuzzOptions): Promise<FuzzReport> {
  const kinds = targets.map(({ kind }): KindReport => ({ kind, accepted: 0, refused: 0, slowestMs: 0 }));
  const failures: Failure[] = [];
  const start = performance.now();
  for (let i = 0; i < count && performance.now() - start < forMs; i++) {
    const which = i % targets.length;
    const nth = from + Math.floor(i / targets.length);
    const [target, report] = [targets[which], kinds[which]];
    if (target === undefined || report === undefined) break;
    onInput?.(which, nth);
    const begin = performance.now();
    const failed = (what: string): void =>
      void failures.push({ kind: target.kind, again: argumentsFor(target.kind, seed, nth), what });
    try {
      report[await target.run(randomFrom(seedOf(target.kind, seed, nth)))]++;
    } catch (error) {
      failed(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    const ms = performance.now() - begin;
    report.slowestMs = Math.max(report.slowestMs, ms);
    if (ms > limitMs) failed(`took ${Math.round(ms)} ms; ${limitMs} are allowed`);
  }
  return { kinds, failures };
}

export function argumentsFor(kind: string, seed: number, nth: number): string {
  return `--only ${kind} --seed ${seed} --from ${nth} --count 1`;
}
