/** @file zlib streams through the platform's own CompressionStream (browsers and Node alike), with a limit on what may come out. May import base. */
import { fail } from '../base/errors.js';

/** Compresses to a zlib stream (RFC 1950). */
export async function deflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Deflate never makes more of a byte than this (two bits stand for at most 258 bytes, https://zlib.net/zlib_tech.html). */
const MOST_OF_A_BYTE = 1032;

/**
 * Decompresses a zlib stream, and stops as soon as more than `limit` bytes come out: a few KB can hold gigabytes of zeros.
 * @param where names the data in the message.
 * @throws `invalidImage` when the stream is damaged or larger than `limit`.
 */
export async function inflate(
  bytes: Uint8Array<ArrayBuffer>,
  limit: number,
  where: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const out = new Uint8Array(Math.min(limit, bytes.length * MOST_OF_A_BYTE)); // not in pieces: they would take as much again
  let total = 0;
  for (;;) {
    const { value } = await reader.read().catch((cause: unknown) => {
      throw fail('invalidImage', `${where}: the compressed data is damaged.`, { cause });
    });
    if (value === undefined) return out.subarray(0, total);
    if (total + value.length > limit) {
      await reader.cancel();
      throw fail('invalidImage', `${where}: expected at most ${limit} bytes of data, got more.`);
    }
    out.set(value, total);
    total += value.length;
  }
}

/** Joins byte arrays whose lengths add up to `total`. */
export function concat(parts: readonly Uint8Array[], total: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
