/**
 * @file Does a request fit on this device? The judgement on a memory prediction, in one sentence with its numbers and what to do.
 * Pure; says plainly what a page cannot know.
 */
import { duration, gigabytes } from './amounts.js';
import type { MemoryPlan } from './memory-plan.js';

/** Bytes of GPU buffers (of the WebAssembly heap on the CPU) that a request needs. */
export interface FitBytes {
  /** Weights of all its networks. */
  readonly weights: number;
  /** Buffers of their runs. */
  readonly activations: number;
  /** The most at any moment. */
  readonly peak: number;
  /** The same when networks are loaded in turn and the picture is decoded in bands, as happens by itself when memory runs out. */
  readonly peakInTurn: number;
  /** The same in the way that a run takes: the first of several that the available bytes are enough for. */
  readonly peakTaken: number;
}

/** A step of FLUX.1, whose blocks take turns on the device where they do not fit together. */
export interface ExpectedStep {
  /** Of the transformer and of ControlNets. */
  readonly blocks: number;
  /** Those whose weights are brought whenever they are run; 0 where all stay on the device. */
  readonly streamedBlocks: number;
  /** Weights that are brought at a step, in the mean of all: ControlNets act in those of their windows. */
  readonly streamedBytes: number;
  /** In the mean of all, at the speeds measured on this device since the page was loaded; absent before any were. */
  readonly seconds?: number;
}

export interface Fit {
  readonly fits: boolean;
  /** For people: one sentence with the numbers, and what to do. */
  readonly reason: string;
  readonly bytes: FitBytes;
  /** Bytes there are: the given budget, or on the CPU the heap. Absent where unknown: no browser tells a page how much video memory there is. */
  readonly available: number | undefined;
  /** Of FLUX.1: what is expected of a step, in the way that a run takes. */
  readonly step?: ExpectedStep;
}

/** A way to run a request, and what it takes. */
export interface Way {
  /** Each network is freed as soon as it has done its part. */
  readonly frugal: boolean;
  /** The picture is decoded in bands, whatever the device allows. */
  readonly bands: boolean;
  /** No block of FLUX.1's networks stays on the device, however much room there is. */
  readonly streamed?: boolean;
  readonly plan: MemoryPlan;
  /** Whether a run begins with it where nothing is known of the memory; that is the first, where none is marked. */
  readonly begins?: boolean;
  readonly step?: ExpectedStep;
}

/** From the fastest way to the most sparing one. */
export type Ways = readonly [Way, ...Way[]];

/** What a device allows. */
export interface Room {
  /** Absent on the CPU. */
  readonly limits: DeviceLimits | undefined;
  readonly available: number | undefined;
}

/** The limits of a WebGPU device that decide, in bytes. */
export interface DeviceLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
}

/** The fastest of these that needs at most `available` bytes. */
export function firstWithin(ways: readonly Way[], available: number): Way | undefined {
  return ways.find(({ plan }) => plan.peak <= available);
}

/** The one that needs least; of equals the fastest. */
export function leastOf([first, ...others]: Ways): Way {
  return others.reduce((least, way) => (way.plan.peak < least.plan.peak ? way : least), first);
}

/**
 * @param size of the picture, for the text
 * @param at predicts the same request at another size
 */
export function judgeFit(ways: Ways, room: Room, size: Size, at: (size: Size) => Ways): Fit {
  const { available } = room;
  const [{ plan }] = ways;
  const taken = takenOf(ways, available);
  const bytes = {
    weights: plan.weights,
    activations: plan.activations,
    peak: plan.peak,
    peakInTurn: ways[ways.length - 1]?.plan.peak ?? plan.peak,
    peakTaken: taken.plan.peak,
  };
  const { step } = taken;
  const answer = (fits: boolean, reason: string): Fit => ({
    fits,
    reason: fits && step !== undefined ? `${reason} ${describeStep(step)}` : reason,
    bytes,
    available,
    ...(step === undefined ? {} : { step }),
  });
  const obstacle = whyNot(ways, room);
  if (obstacle !== undefined) return answer(false, `${obstacle}; ${advice(room, size, at)}.`);
  const needs = `${gigabytes(plan.peak)} at most (${gigabytes(plan.weights)} of weights, ${gigabytes(plan.activations)} for runs)`;
  if (available === undefined) {
    return answer(
      true,
      `It needs ${needs} and keeps within the device's limits; how much video memory is free, a page cannot know.`,
    );
  }
  if (plan.peak <= available) return answer(true, `It needs ${needs}, and ${gigabytes(available)} are available.`);
  return answer(
    true,
    `All at once it needs ${needs}, more than the ${gigabytes(available)} available; ${describeWay(taken)}, which happens by itself when memory runs out and is slower, ${gigabytes(taken.plan.peak)} are enough.`,
  );
}

/** What a run takes: the fastest way that fits; where nothing is known, what it begins with. */
function takenOf(ways: Ways, available: number | undefined): Way {
  if (available !== undefined) return firstWithin(ways, available) ?? leastOf(ways);
  return ways.find(({ begins }) => begins) ?? ways[0];
}

function describeStep({ blocks, streamedBlocks, streamedBytes, seconds }: ExpectedStep): string {
  const weights =
    streamedBlocks === 0
      ? 'The weights of all blocks stay on the device'
      : `Of ${streamedBlocks} of ${blocks} blocks the weights are brought at every step (${gigabytes(streamedBytes)})`;
  return `${weights}${seconds === undefined ? '' : `; a step takes about ${duration(seconds)}`}.`;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The first thing that stands in the way, or nothing. */
function whyNot(ways: Ways, { limits, available }: Room): string | undefined {
  const [{ plan }] = ways;
  for (const { name, largestBuffer, largestConvInput } of plan.networks) {
    if (limits === undefined) break;
    if (largestBuffer > limits.maxBufferSize) {
      return `${capital(name)} needs one buffer of ${gigabytes(largestBuffer)}, and this device allows ${gigabytes(limits.maxBufferSize)}`;
    }
    if (largestConvInput > limits.maxStorageBufferBindingSize) {
      return `${capital(name)} has a convolution that reads ${gigabytes(largestConvInput)} at once, and this device allows ${gigabytes(limits.maxStorageBufferBindingSize)}`;
    }
  }
  if (available === undefined || firstWithin(ways, available) !== undefined) return undefined;
  const least = leastOf(ways);
  const sparing = least.plan === plan ? '' : `, ${gigabytes(least.plan.peak)} ${describeWay(least)}`;
  return `It needs ${gigabytes(plan.peak)} at most${sparing} (during ${least.plan.peakIn}), and ${gigabytes(available)} are available`;
}

function describeWay({ frugal, bands, step }: Way): string {
  const means = [
    ...(frugal ? ['networks loaded in turn'] : []),
    ...(step !== undefined && !frugal ? ['the text encoders freed before the transformer is loaded'] : []),
    ...(bands ? ['the picture decoded in bands'] : []),
  ];
  return `with ${means.join(' and ')}`;
}

/** Sizes to try, as a share of the one asked for. */
const SMALLER = [7 / 8, 3 / 4, 5 / 8, 1 / 2, 3 / 8, 1 / 4];
/** Sides that every model takes. */
const MULTIPLE = 64;
const SMALLEST = 128;

function advice(room: Room, { width, height }: Size, at: (size: Size) => Ways): string {
  const scaled = (side: number, share: number): number => Math.floor((side * share) / MULTIPLE) * MULTIPLE;
  for (const share of SMALLER) {
    const size = { width: scaled(width, share), height: scaled(height, share) };
    if (Math.min(size.width, size.height) < SMALLEST) break;
    if (whyNot(at(size), room) === undefined) return `${size.width}×${size.height} would fit`;
  }
  return 'no smaller size of this shape would fit: use a smaller model';
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
