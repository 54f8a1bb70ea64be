/**
 * @file Many pictures with one engine, of changing models, sizes and add-ons, some of them aborted; after every few the same picture again.
 * Its bytes must be the same each time, and what is held then must stay what it was. Runs in Node and in a page.
 */
import type { Engine } from '../../src/pipeline/engine.js';
import { randomFrom } from './fuzz-random.js';
import { fitLine, type Line, type Point } from './soak-line.js';
import { planSoak, REFERENCES, type Planned, type SoakSet, type SoakTask } from './soak-plan.js';

/** What is held at one moment; the engine's GPU memory comes besides. */
export type Measured = Readonly<Record<string, number>>;

export interface SoakOptions {
  readonly engine: Engine;
  readonly set: SoakSet;
  /** To be made at least, the reference pictures among them. */
  readonly pictures: number;
  /** No task is begun after so long. */
  readonly forMs?: number | undefined;
  readonly seed: number;
  /** A picture for ControlNets, as a data URI. */
  readonly guide: string;
  /** After garbage was collected. */
  readonly measure: () => Promise<Measured>;
  /** How much of each a line may rise in all; what is not named may not rise. */
  readonly allowed: Readonly<Record<string, number>>;
  readonly onPicture?: (made: number) => void;
}

export interface SoakResult {
  readonly pictures: number;
  readonly tasks: number;
  readonly aborted: number;
  readonly lines: Readonly<Record<string, Line>>;
  /** One sentence each; empty when all is well. */
  readonly problems: readonly string[];
}

/** Tasks between two reference pictures. */
const BETWEEN = 2;
/** Of the reference pictures, this part comes before everything was seen once: caches are full after it. */
const WARM_UP = 0.4;

export async function soakPictures(options: SoakOptions): Promise<SoakResult> {
  const { engine, set, pictures, forMs = Infinity, seed, guide, measure, allowed, onPicture } = options;
  const random = randomFrom(seed);
  const measured: { readonly x: number; readonly values: Measured }[] = [];
  const problems: string[] = [];
  let [made, tasks, aborted] = [0, 0, 0];
  let wanted: string | undefined;
  const run = async (planned: Planned): Promise<readonly string[]> => {
    const { hashes, errors } = await runOne(engine, planned);
    made += hashes.length;
    tasks++;
    if (errors.join() === 'aborted' && planned.abortAfter !== undefined) aborted++;
    else if (errors.length > 0) problems.push(`${JSON.stringify(short(planned.task))}: ${errors.join()}`);
    onPicture?.(made);
    return hashes;
  };
  const start = performance.now();
  while (made < pictures && performance.now() - start < forMs) {
    for (let i = 0; i < BETWEEN; i++) await run(planSoak(set, random, tasks - measured.length, guide));
    const [hash = 'none'] = await run({ task: REFERENCES[set], abortAfter: undefined });
    wanted ??= hash;
    if (hash !== wanted) problems.push(`after ${made} pictures the reference picture has other bytes`);
    const { gpuBytes, gpuBuffers } = engine.memory();
    measured.push({ x: made, values: { gpuBytes, gpuBuffers, ...(await measure()) } });
  }
  const warm = measured.slice(Math.floor(measured.length * WARM_UP));
  const lines = linesOf(warm, allowed);
  for (const [name, { flat, slope, rise }] of Object.entries(lines))
    if (!flat)
      problems.push(`${name} is not flat: ${slope.toFixed(1)} more for each picture, ${rise.toFixed(0)} in all`);
  return { pictures: made, tasks, aborted, lines, problems };
}

function linesOf(
  measured: readonly { readonly x: number; readonly values: Measured }[],
  allowed: Readonly<Record<string, number>>,
): Readonly<Record<string, Line>> {
  const names = Object.keys(measured[0]?.values ?? {});
  return Object.fromEntries(
    names.map((name) => {
      const points: readonly Point[] = measured.map(({ x, values }) => ({ x, y: values[name] ?? NaN }));
      return [name, fitLine(points, allowed[name] ?? 0)];
    }),
  );
}

/** Runs a task, and aborts it when so many events were heard. */
async function runOne(
  engine: Engine,
  { task, abortAfter = Infinity }: Planned,
): Promise<{ readonly hashes: readonly string[]; readonly errors: readonly string[] }> {
  const controller = new AbortController();
  const hashes: Promise<string>[] = [];
  let events = 0;
  const { errors } = await engine.run([task], {
    signal: controller.signal,
    onEvent(event) {
      if (++events > abortAfter) controller.abort();
      if (event.kind === 'picture') hashes.push(sha256(event.picture.bytes));
    },
  });
  return {
    hashes: await Promise.all(hashes),
    errors: errors.map(({ code, message }) => (code === 'aborted' ? code : `${code}: ${message}`)),
  };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** Without the picture written out. */
function short(task: SoakTask): unknown {
  return JSON.parse(JSON.stringify(task, (key, value: unknown) => (key === 'guideImage' ? '…' : value)));
}
