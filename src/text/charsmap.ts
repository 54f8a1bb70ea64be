/**
 * @file sentencepiece's compiled table of normalisation (`precompiled_charsmap`; T5's is nmt_nfkc): which characters are written in another way.
 * Format: github.com/google/sentencepiece, src/normalizer.cc; the trie is github.com/s-yata/darts-clone's. The table is untrusted.
 */
import { fail } from '../base/errors.js';

/** Longer clusters, in UTF-8 bytes, are looked up one character after the other. */
const WHOLE_CLUSTER_BYTES = 5;

/**
 * Makes the function that applies a table as the tokenizers library does: to each grapheme cluster as a whole when it is short, else to its
 * characters; what replaces a text is the entry of its shortest beginning that has one.
 * @param table base64: length of the trie in bytes (uint32), the trie, then the replacements, each ended by a zero byte
 * @throws invalidModelConfig
 */
export function createCharsmap(table: string, where: string): (text: string) => string {
  const bytes = fromBase64(table, where);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const trieBytes = bytes.length < 4 ? -1 : view.getUint32(0, true);
  if (trieBytes < 4 || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) {
    throw fail(
      'invalidModelConfig',
      `${where} is no table of characters: ${bytes.length} bytes, its trie has ${trieBytes}.`,
    );
  }
  const trie = new Uint32Array(trieBytes / 4);
  for (let i = 0; i < trie.length; i++) trie[i] = view.getUint32(4 + 4 * i, true);
  const replacements = bytes.subarray(4 + trieBytes);
  const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' }); // the same in all languages
  const encoder = new TextEncoder();

  const replace = (text: string, limit = Infinity): string | undefined => {
    const utf8 = encoder.encode(text);
    const at = utf8.length > limit ? undefined : firstValue(trie, utf8);
    return at === undefined ? undefined : textAt(replacements, at);
  };
  const rewrite = (cluster: string): string =>
    replace(cluster, WHOLE_CLUSTER_BYTES) ?? Array.from(cluster, (char) => replace(char) ?? char).join('');

  return (text) => {
    const known = new Map<string, string>();
    let out = '';
    for (const cluster of clustersOf(text, segmenter)) {
      const written = known.get(cluster) ?? rewrite(cluster);
      known.set(cluster, written);
      out += written;
    }
    return out;
  };
}

const WINDOW = 128;

function isHighSurrogate(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800;
}

/** The grapheme clusters of a text, found in pieces: engines take quadratic time on long ones. Where a cluster ends only depends on what is in it. */
function* clustersOf(text: string, segmenter: Intl.Segmenter): Generator<string> {
  for (let start = 0, window = WINDOW; start < text.length;) {
    const end = Math.min(text.length, start + window + (isHighSurrogate(text, start + window - 1) ? 1 : 0));
    const found = Array.from(segmenter.segment(text.slice(start, end)), ({ segment }) => segment);
    // the last may go on behind the window
    const whole = end === text.length ? found : found.slice(0, -1);
    yield* whole;
    for (const cluster of whole) start += cluster.length;
    window = whole.length === 0 ? 2 * window : WINDOW;
  }
}

/** The value of the shortest beginning of `key` that is in the trie: a double array, whose units hold label, leaf mark and offset. */
function firstValue(trie: Uint32Array, key: Uint8Array): number | undefined {
  let node = offsetOf(trie[0] ?? 0);
  for (const byte of key) {
    node ^= byte;
    const unit = trie[node];
    if (unit === undefined || byte === 0 || (unit & 0x8000_00ff) !== byte) return undefined;
    node ^= offsetOf(unit);
    const isLeaf = ((unit >>> 8) & 1) === 1;
    if (isLeaf) return (trie[node] ?? 0) & 0x7fff_ffff;
  }
  return undefined;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function textAt(replacements: Uint8Array, at: number): string {
  const end = replacements.indexOf(0, at);
  return new TextDecoder().decode(replacements.subarray(at, end < 0 ? replacements.length : end));
}

function fromBase64(text: string, where: string): Uint8Array {
  try {
    const units = atob(text);
    const bytes = new Uint8Array(units.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = units.charCodeAt(i);
    return bytes;
  } catch (cause) {
    throw fail('invalidModelConfig', `${where} is not base64.`, { cause });
  }
}
