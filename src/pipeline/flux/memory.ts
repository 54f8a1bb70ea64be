/**
 * @file Which of a FLUX.1 model's weights stay on the device, and which are brought when they are needed. At full size the model takes 34 GB in
 * float16 and 10 GB in four bits, so that this decides whether it runs at all.
 */

/** Bytes on the device. */
export interface FluxSizes {
  readonly clip: number;
  /** Of each block. */
  readonly t5Block: number;
  readonly t5Blocks: number;
  readonly doubleBlock: number;
  readonly doubleBlocks: number;
  readonly singleBlock: number;
  readonly singleBlocks: number;
  /** What makes the modulation of all blocks. */
  readonly modulation: number;
  /** What comes before and after the blocks. */
  readonly ends: number;
  readonly vae: number;
  /** Features of a run, in all, and what ONNX Runtime keeps. */
  readonly runs: number;
}

/** Counts are of blocks, from the first on, whose weights stay while their network runs. */
export interface FluxMemory {
  readonly t5: number;
  readonly double: number;
  readonly single: number;
  /** Whether what makes the modulation stays, for the next prompt. */
  readonly modulation: boolean;
  /** Whether text encoders and transformer stay at the same time, for the next picture. */
  readonly together: boolean;
}

/** What is assumed of a device of which nothing is known: cards that run such models at all have this much to spare. */
export const ASSUMED_BYTES = 10e9;

/**
 * Everything stays where it fits. Else T5, which runs once for a prompt, is brought block by block; and of the transformer stays what fits, the
 * first blocks of either kind in proportion, while the others take turns.
 * @param available bytes for the whole request
 * @param frugal whether each network is freed before the next
 */
export function planFluxMemory(sizes: FluxSizes, available: number, frugal: boolean): FluxMemory {
  const { clip, t5Block, t5Blocks, doubleBlock, doubleBlocks, singleBlock, singleBlocks } = sizes;
  const { modulation, ends, vae, runs } = sizes;
  const text = clip + t5Block * t5Blocks;
  const blocks = doubleBlock * doubleBlocks + singleBlock * singleBlocks;
  const all = { t5: t5Blocks, double: doubleBlocks, single: singleBlocks };
  if (!frugal && text + blocks + modulation + ends + vae + runs <= available)
    return { ...all, modulation: true, together: true };
  const apart = { t5: 0, together: false } as const;
  const room = available - ends - runs - (frugal ? 0 : vae);
  if (blocks + modulation <= room) return { ...all, ...apart, modulation: true };
  if (blocks <= room) return { ...all, ...apart, modulation: false };
  const ring = 2 * (doubleBlock + singleBlock);
  const share = Math.max(0, Math.min(1, (room - ring) / blocks));
  return {
    ...apart,
    double: Math.floor(share * doubleBlocks),
    single: Math.floor(share * singleBlocks),
    modulation: false,
  };
}
