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
  /** What one run of each kind of block has alive at most, added up: ONNX Runtime keeps it. */
  readonly runs: number;
  /** What the decoder has alive at most. */
  readonly decoding: number;
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
