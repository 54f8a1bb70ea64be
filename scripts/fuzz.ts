/**
 * @file `npm run fuzz -- --count 100000 --seed 1 --only png`: everything that comes from outside, a little wrong, through the code that reads it.
 * Nothing may crash, hang, or be accepted that is wrong. Exit status 1 with the arguments that repeat each failure.
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { argumentsFor, fuzz, type Failure, type FuzzReport } from './lib/fuzz-run.js';
import { fuzzTargets } from './lib/fuzz-targets.js';

const USAGE = `Usage: npm run fuzz -- [options]
  --count N    inputs in all (default: 20000; none with --minutes)
  --minutes M  end after so long
  --seed S     a whole number; the same makes the same inputs (default: 1)
  --only KINDS only the kinds that begin so, with commas between: ${fuzzTargets()
    .map(({ kind }) => kind)
    .join(', ')}
  --from I     the first input of each kind (default: 0)`;

/** What the thread that reads is given. */
interface Job {
  readonly count: number;
  readonly forMs: number | undefined;
  readonly seed: number;
  readonly from: number;
  readonly only: string;
  /** Which kind and which input is being read, and how many were. */
  readonly now: Int32Array<SharedArrayBuffer>;
}

/** Who computes for so long on one input hangs; of a busy machine a thread may get little. */
const HANG_CPU_MS = 45_000;
/** Who waits for so long waits for nothing. */
const HANG_MS = 600_000;
const LOOK_MS = 2_000;

/** Runs in a thread of its own, which can be watched and ended. */
async function work({ now, only, ...options }: Job): Promise<FuzzReport> {
  let done = 0;
  return fuzz({
    ...options,
    targets: fuzzTargets(only),
    onInput(kind, nth) {
      Atomics.store(now, 0, kind);
      Atomics.store(now, 1, nth);
      Atomics.store(now, 2, done++);
    },
    onFailure: (failure) => parentPort?.postMessage({ failure }),
  });
}

/** The report, or the input at which the thread hangs. */
function watch(job: Job): Promise<FuzzReport> {
  // A thread knows nothing of the loader that this one has for TypeScript.
  const boot = `import('${import.meta.resolve('tsx/esm/api')}').then(({ register }) => (register(), import('${import.meta.url}')))`;
  const worker = new Worker(boot, { eval: true, workerData: job });
  const kinds = fuzzTargets(job.only);
  const clocks = (): { readonly since: number; readonly cpu: number } => {
    const { user, system } = process.cpuUsage(); // µs, of all threads
    return { since: performance.now(), cpu: (user + system) / 1000 };
  };
  let seen = { done: -1, ...clocks() };
  return new Promise((resolve, reject) => {
    const timer = setInterval(() => {
      const done = Atomics.load(job.now, 2);
      const now = clocks();
      if (done !== seen.done) seen = { done, ...now };
      if (process.stderr.isTTY) process.stderr.write(`\r${done} `);
      const [waited, computed] = [now.since - seen.since, now.cpu - seen.cpu];
      if (waited < HANG_MS && computed < HANG_CPU_MS) return;
      const kind = kinds[Atomics.load(job.now, 0)]?.kind ?? '';
      const again = argumentsFor(kind, job.seed, Atomics.load(job.now, 1));
      const what = `it hangs: not read in ${Math.round(waited)} ms, of which ${Math.round(computed)} were computed`;
      end(() => resolve({ inputs: seen.done + 1, kinds: [], failures: [{ kind, again, what }] }));
    }, LOOK_MS);
    const end = (settle: () => void): void => {
      clearInterval(timer);
      void worker.terminate().then(settle);
    };
    const told = new Set<string>();
    worker.on('message', (message: { readonly failure: Failure } | { readonly report: FuzzReport }) => {
      if ('report' in message) end(() => resolve(message.report));
      else if (!told.has(kindAndReason(message.failure))) {
        told.add(kindAndReason(message.failure));
        console.error(`npm run fuzz -- ${message.failure.again}\n  ${message.failure.what.slice(0, 300)}`);
      }
    });
    worker.once('error', (error) => end(() => reject(error)));
  });
}

/** The same for failures of one kind that are alike. */
function kindAndReason({ kind, what }: Failure): string {
  return `${kind}: ${what.replaceAll(/\d+/g, '0').slice(0, 60)}`;
}

/** But for their numbers, and what follows these. */
function alike(a: string, b: string): boolean {
  const beginning = (text: string): string => text.replaceAll(/\d+/g, '0').slice(0, 60);
  return beginning(a) === beginning(b);
}

/** Alike failures together: what they say, cut, with the arguments of each. */
function byReason(failures: FuzzReport['failures']): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const { kind, again, what } of failures) {
    const [line = '', at = ''] = what.split('\n').filter((text) => !text.includes('scripts/lib/fuzz'));
    const said = `${kind}: ${line.slice(0, 300)}\n${at.slice(0, 200)}`;
    const key = [...groups.keys()].find((other) => alike(other, said)) ?? said;
    groups.set(key, [...(groups.get(key) ?? []), again]);
  }
  return groups;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string' },
      minutes: { type: 'string' },
      seed: { type: 'string', default: '1' },
      from: { type: 'string', default: '0' },
      only: { type: 'string', default: '' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const { count: given = values.minutes === undefined ? '20000' : `${Number.MAX_SAFE_INTEGER}` } = values;
  const [count = 0, seed = 0, from = 0] = [given, values.seed, values.from].map(Number);
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
  const valid = [count, seed, from].every((n) => Number.isSafeInteger(n)) && (minutes === undefined || minutes > 0);
  if (values.help === true || !valid || fuzzTargets(values.only).length === 0) {
    console.log(USAGE);
    return values.help === true ? 0 : 1;
  }
  const now = new Int32Array(new SharedArrayBuffer(12));
  const begin = performance.now();
  const forMs = minutes === undefined ? undefined : minutes * 60_000;
  const { inputs, kinds, failures } = await watch({ count, forMs, seed, from, only: values.only, now });
  console.table(
    Object.fromEntries(
      kinds.map(({ kind, slowestMs, ...counts }) => [kind, { ...counts, slowestMs: Math.round(slowestMs) }]),
    ),
  );
  for (const [what, [first = '', ...more]] of byReason(failures))
    console.error(`npm run fuzz -- ${first}${more.length > 0 ? ` (and ${more.length} more)` : ''}\n  ${what}`);
  console.log(
    `${inputs} inputs, seed ${seed}: ${failures.length} failures in ${Math.round((performance.now() - begin) / 1000)} s`,
  );
  return failures.length === 0 ? 0 : 1;
}

if (isMainThread) process.exitCode = await main();
else parentPort?.postMessage({ report: await work(workerData as Job) }); // what `watch` gave
