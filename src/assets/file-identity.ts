/** @file What tells a file that has no hash from all others: what the system says of it, and samples of its bytes. */
import { createSha256 } from './download/sha256.js';

/** So many places, evenly spread, of so many bytes. A fine-tune differs from its base in nearly all of them. */
const SAMPLES = 64;
const SAMPLE_BYTES = 4096;

/**
 * The same for a file that was picked again another day.
 * @param about its name, when it was last changed
 * @param read bytes `start` to `end`
 */
export async function sampledIdentity(
  about: readonly (string | number)[],
  bytes: number,
  read: (start: number, end: number) => Promise<Uint8Array>,
): Promise<string> {
  const hash = createSha256();
  hash.update(new TextEncoder().encode(JSON.stringify([...about, bytes])));
  const last = Math.max(0, bytes - SAMPLE_BYTES);
  const step = Math.max(SAMPLE_BYTES, last / (SAMPLES - 1));
  for (let at = 0; at <= last; at += step) {
    const start = Math.floor(at);
    hash.update(await read(start, Math.min(bytes, start + SAMPLE_BYTES)));
  }
  return `sampled:${hash.digest()}`;
}
