/** @file sha256 of an array's bytes, in Node and in a page alike. */

/** In lower-case hexadecimal; numbers as this machine has them, little-endian. */
export async function sha256Hex(values: Float32Array | Uint32Array | Uint16Array): Promise<string> {
  const copy = values.slice();
  const digest = await crypto.subtle.digest('SHA-256', copy.buffer);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
