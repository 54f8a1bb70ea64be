/** @file Reads a slow source in large blocks, so that a model's many small tensors do not cost a request each. Keeps a few blocks. */
import { DarkroomError, throwIfAborted } from '../base/errors.js';
import { checkRange } from './byte-source.js';
import type { ByteSource, OnBytes } from './source.js';

export interface ReadAheadOptions {
  readonly blockBytes: number;
  /** Blocks kept, the latest used; files are read nearly in order, so a few are enough. */
  readonly keep: number;
}

const DEFAULTS: ReadAheadOptions = { blockBytes: 4 << 20, keep: 4 };

/**
 * The same file as `source`. Reads of a whole block or more go straight through; shorter ones are copied out of blocks,
 * which concurrent reads share. `onBytes` hears what is fetched, by the read that caused it.
 */
export function readAhead(source: ByteSource, { blockBytes, keep }: ReadAheadOptions = DEFAULTS): ByteSource {
  const blocks = new Map<number, Promise<Uint8Array>>();

  const fetchBlock = (index: number, signal?: AbortSignal, onBytes?: OnBytes): Promise<Uint8Array> => {
    const start = index * blockBytes;
    const block = source.read(start, Math.min(start + blockBytes, source.size), signal, onBytes);
    block.catch(() => blocks.get(index) === block && blocks.delete(index));
    return block;
  };

  const blockAt = async (index: number, signal?: AbortSignal, onBytes?: OnBytes): Promise<Uint8Array> => {
    for (;;) {
      throwIfAborted(signal);
      const known = blocks.get(index);
      const block = known ?? fetchBlock(index, signal, onBytes);
      remember(blocks, index, block, keep);
      try {
        return await block;
      } catch (error) {
        // another read began this block and was aborted: that is not this read's end
        const othersAbort = known !== undefined && error instanceof DarkroomError && error.code === 'aborted';
        if (!othersAbort) throw error;
      }
    }
  };

  return {
    name: source.name,
    size: source.size,
    read: async (start, end, signal, onBytes, room) => {
      checkRange(source.name, source.size, start, end);
      if (end - start >= blockBytes) return source.read(start, end, signal, onBytes, room);
      const out = new Uint8Array(end - start);
      if (start === end) return out;
      for (let index = Math.floor(start / blockBytes); index * blockBytes < end; index++) {
        const from = index * blockBytes;
        const block = await blockAt(index, signal, onBytes);
        out.set(block.subarray(Math.max(0, start - from), end - from), Math.max(0, from - start));
      }
      throwIfAborted(signal);
      return out;
    },
  };
}

/** Puts a block last, and drops the first ones. */
function remember(
  blocks: Map<number, Promise<Uint8Array>>,
  index: number,
  block: Promise<Uint8Array>,
  keep: number,
): void {
  blocks.delete(index);
  blocks.set(index, block);
  for (const oldest of blocks.keys()) {
    if (blocks.size <= keep) break;
    blocks.delete(oldest);
  }
}
