/**
 * @file Which of a FLUX.1 model's weights stay on the device, and which are brought when they are needed. At full size the model takes 34 GB in
 * float16 and 10 GB in four bits, so that this decides whether it runs at all.
 */
import { SHARED_SETS } from '../../runtime/blocks.js';
import type { DeviceLimits } from '../fit.js';
import type { Rates } from '../pace.js';
import { broughtBytes, predictStep, type StepBlocks } from './step-time.js';

/** The transformer's blocks: bytes on the device, and arithmetic. */
export interface BlockSizes {
  /** Of each block. */
  readonly doubleBlock: number;
  readonly doubleBlocks: number;
  readonly singleBlock: number;
  readonly singleBlocks: number;
  /** What is brought of each that does not stay: the file's weights, without what LoRAs make of them. */
  readonly doubleBrought: number;
  readonly singleBrought: number;
  /** Floating-point operations of a run of each. */
  readonly doubleFlops: number;
  readonly singleFlops: number;
}

/** Bytes on the device. */
export interface FluxSizes extends BlockSizes {
  readonly clip: number;
  /** Of each block. */
  readonly t5Block: number;
  readonly t5Blocks: number;
  /** What makes the modulation of all blocks. */
  readonly modulation: number;
  /** What comes before and after the blocks. */
  readonly ends: number;
  readonly vae: number;
  /** What ONNX Runtime keeps of runs, but for the decoder's, and the arrays that features are in. */
  readonly runs: number;
  /** What the decoder has alive at most. */
  readonly decoding: number;
}

/** How many blocks of the transformer stay on the device while it runs. */
export interface Residents {
  readonly double: number;
  readonly single: number;
}

export interface FluxMemory extends Residents {
  /** Blocks of T5 that stay while it runs. */
  readonly t5: number;
  /** Whether what makes the modulation stays, for the next prompt. */
  readonly modulation: boolean;
  /** Whether text encoders and transformer stay at the same time, for the next picture. */
  readonly together: boolean;
}

/** What is assumed of a device of which nothing is known: cards that run such models at all have this much to spare. */
export const ASSUMED_BYTES = 10e9;

/** A device that has no more than this many of its largest buffers to spare is a small one: a rule of thumb. */
const LARGEST_BUFFERS = 4;

/**
 * Bytes to plan for: what is known to be there, but for a tenth; where nothing is, what cards have that run such models, as far as the device's
 * limits do not speak against it, or half of that where it was too much.
 */
export function availableBytes(known: number | undefined, limits: DeviceLimits | undefined, frugal: boolean): number {
  if (known !== undefined) return 0.9 * known;
  const assumed = Math.min(ASSUMED_BYTES, LARGEST_BUFFERS * (limits?.maxBufferSize ?? Infinity));
  return frugal ? assumed / 2 : assumed;
}

/** Nothing was measured. */
const UNKNOWN: Rates = { bytesPerSecond: undefined, flopsPerSecond: undefined };

/**
 * Everything stays where it fits. Else T5, which runs once for a prompt, is brought block by block; and of the transformer stays what fits
 * ({@link chooseResidents}), while the other blocks take turns.
 * @param available bytes for the whole request
 * @param frugal whether each network is freed before the next
 */
export function planFluxMemory(
  sizes: FluxSizes,
  available: number,
  frugal: boolean,
  rates: Rates = UNKNOWN,
): FluxMemory {
  const { clip, t5Block, t5Blocks, doubleBlock, doubleBlocks, singleBlock, singleBlocks } = sizes;
  const { modulation, ends, runs } = sizes;
  const decoder = sizes.vae + sizes.decoding;
  const text = clip + t5Block * t5Blocks;
  const blocks = doubleBlock * doubleBlocks + singleBlock * singleBlocks;
  const all = { t5: t5Blocks, double: doubleBlocks, single: singleBlocks };
  if (!frugal && text + blocks + modulation + ends + runs + decoder <= available)
    return { ...all, modulation: true, together: true };
  const apart = { t5: 0, together: false } as const;
  const room = available - ends - runs - (frugal ? 0 : decoder);
  if (blocks + modulation <= room) return { ...all, ...apart, modulation: true };
  return { ...apart, ...chooseResidents(sizes, room, rates), modulation: false };
}

/** The transformer's blocks when so many stay. */
export function stepBlocks(sizes: BlockSizes, { double, single }: Residents): StepBlocks {
  const { doubleBlocks, doubleBrought, doubleFlops, singleBlocks, singleBrought, singleFlops } = sizes;
  return [
    { count: doubleBlocks, bytes: doubleBrought, flops: doubleFlops, resident: double },
    { count: singleBlocks, bytes: singleBrought, flops: singleFlops, resident: single },
  ];
}

/** How much faster a choice must be by which more is brought: rates vary from one time to the next, and another choice means reading blocks again. */
const CLEARLY = 0.95;

/**
 * Which blocks stay in `room` bytes. Each byte that stays is one less to bring, and a kind of which all stay needs no shared buffers, so that where
 * little is brought it is all of one kind. But it comes while blocks run, so that where much is brought it is better spread over both kinds: as soon as rates are
 * known, what is fastest is taken.
 */
export function chooseResidents(sizes: BlockSizes, room: number, rates: Rates): Residents {
  const choices = choicesWithin(sizes, room).map((choice) => {
    const blocks = stepBlocks(sizes, choice);
    return { choice, brought: broughtBytes(blocks), seconds: predictStep(blocks, rates)?.seconds ?? Infinity };
  });
  const [first, ...others] = choices;
  if (first === undefined) return { double: 0, single: 0 };
  const least = others.reduce((a, b) => (b.brought < a.brought ? b : a), first);
  const fastest = others.reduce((a, b) => (b.seconds < a.seconds ? b : a), first);
  return (fastest.seconds < CLEARLY * least.seconds ? fastest : least).choice;
}

/** For each number of double blocks that can stay the most single ones that can stay beside them. */
function choicesWithin(sizes: BlockSizes, room: number): readonly Residents[] {
  const { doubleBlock, doubleBlocks, singleBlock, singleBlocks } = sizes;
  const choices: Residents[] = [];
  for (const double of countsOf(doubleBlocks)) {
    const left = room - heldBytes(doubleBlock, doubleBlocks, double);
    const single = countsOf(singleBlocks).find((count) => heldBytes(singleBlock, singleBlocks, count) <= left);
    if (single !== undefined) choices.push({ double, single });
  }
  return choices;
}

/** How many of `count` blocks can stay, the most first: as soon as some are brought, they are more than share the buffers. */
function countsOf(count: number): readonly number[] {
  return [count, ...Array.from({ length: Math.max(0, count - SHARED_SETS) }, (_, i) => count - SHARED_SETS - 1 - i)];
}

/** Of a kind's blocks, shared buffers included. */
function heldBytes(block: number, count: number, resident: number): number {
  return block * (resident + (resident < count ? SHARED_SETS : 0));
}
