/**
 * @file How long FLUX.1's blocks take at one evaluation, told from how fast the device computes and how fast weights come. The order of events is that of
 * `runtime/blocks.ts`; what comes before and after the blocks is little and left out.
 */
import { SHARED_SETS, stayingBlocks } from '../../runtime/blocks.js';
import type { Rates } from '../pace.js';

/** One kind of block. */
export interface BlocksOfAKind {
  readonly count: number;
  /** Weights of a block on the device. */
  readonly bytes: number;
  /** Floating-point operations of a run of a block. */
  readonly flops: number;
}

/**
 * The blocks of an evaluation, in the order of their runs, and how many of each kind stay on the device. A kind that comes twice, as the same
 * object, is run twice; its blocks share the same buffers.
 */
export type StepBlocks = readonly (BlocksOfAKind & { readonly resident: number })[];

/** Of one evaluation of the network, in seconds. */
export interface StepTime {
  readonly seconds: number;
  /** What it would take if all weights were there. */
  readonly computing: number;
}

/** Bytes that are brought at each evaluation. Blocks that have the shared buffers to themselves are brought once. */
export function broughtBytes(blocks: StepBlocks): number {
  return blocks.reduce((sum, kind) => sum + kind.bytes * broughtCount(kind), 0);
}

/** How many of a kind are brought at each evaluation. */
export function broughtCount({ count, resident }: StepBlocks[number]): number {
  const others = count - resident;
  return others > SHARED_SETS ? others : 0;
}

/** Evaluations before those that are looked at, which begin with all buffers full; and how many these are. */
const SETTLED = 4;

/**
 * With F FLOP/s and B bytes/s, block i of f FLOP begins when block i−1 is done and its weights are there, and is done f/F later; then its buffers are filled with
 * the weights, b bytes, of the block that takes its turn after the next of its kind, b/B after the weights that were asked for before are there:
 *
 *     doneᵢ = max(doneᵢ₋₁, thereᵢ) + fᵢ/F,   thereⱼ = max(there of what was asked for before, doneᵢ) + bⱼ/B.
 *
 * @returns the mean of evaluations in the middle of many; nothing where a rate is not known that it depends on
 */
export function predictStep(kinds: StepBlocks, { bytesPerSecond, flopsPerSecond }: Rates): StepTime | undefined {
  if (flopsPerSecond === undefined) return undefined;
  const computing = kinds.reduce((sum, { count, flops }) => sum + (count * flops) / flopsPerSecond, 0);
  if (broughtBytes(kinds) === 0) return { seconds: computing, computing };
  if (bytesPerSecond === undefined) return undefined;
  /** Of each kind, when the weights are there of those that take turns, the next one's first. */
  const rings = new Map(kinds.map((kind) => [kind, Array.from({ length: SHARED_SETS }, () => 0)]));
  const blocks = kinds.flatMap((kind) => {
    const there = rings.get(kind);
    const [run, bring] = [kind.flops / flopsPerSecond, kind.bytes / bytesPerSecond];
    const stays = stayingBlocks(kind.count, kind.count - broughtCount(kind));
    return stays.map((stay) => ({ run, bring, there: stay ? undefined : there }));
  });
  let [done, brought, settled] = [0, 0, 0];
  for (let i = 0; i < 2 * SETTLED; i++) {
    if (i === SETTLED) settled = done;
    for (const { run, bring, there } of blocks) {
      done = Math.max(done, there?.shift() ?? 0) + run;
      if (there === undefined) continue;
      brought = Math.max(brought, done) + bring;
      there.push(brought);
    }
  }
  return { seconds: (done - settled) / SETTLED, computing };
}
