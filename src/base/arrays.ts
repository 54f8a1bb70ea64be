/** @file Joining and filling up typed arrays. Imports nothing. */

/** All parts one after the other; a single part is returned as it is. */
export function concatFloats(parts: readonly Float32Array[]): Float32Array {
  const [first] = parts;
  if (first !== undefined && parts.length === 1) return first;
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Filled up with zeros to a length that is a multiple of `multiple`; bytes that have one are returned as they are. */
export function padded(bytes: Uint8Array, multiple: number): Uint8Array {
  if (bytes.length % multiple === 0) return bytes;
  const out = new Uint8Array(Math.ceil(bytes.length / multiple) * multiple);
  out.set(bytes);
  return out;
}
