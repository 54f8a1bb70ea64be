/** @file The container of a PNG file (PNG specification, third edition, §5): signature, chunks, CRC. Knows nothing of pixels. May import base. */
import { fail } from '../base/errors.js';

/** §5.2: the eight bytes every PNG starts with. */
export const SIGNATURE: readonly number[] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** One chunk: its four-letter type and its data. */
export interface Chunk {
  readonly type: string;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** CRC-32 of every single byte (polynomial 0xEDB88320, Annex D). */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

/** CRC-32 as PNG, zlib and Ethernet use it; an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (CRC_TABLE[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Length, type, data, CRC as one byte array. */
export function writeChunk(type: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(data.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) out[4 + i] = type.charCodeAt(i);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

/**
 * Every chunk up to IEND, in order; what follows IEND is ignored.
 * @throws `invalidImage` when the signature, a length or a CRC is wrong, IEND is missing, or chunks are there that must not be (§5.6).
 */
export function* readChunks(bytes: Uint8Array<ArrayBuffer>): Generator<Chunk> {
  if (!isPng(bytes)) throw fail('invalidImage', 'This is not a PNG file: its first eight bytes differ.');
  const check = createOrder();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = SIGNATURE.length;
  for (;;) {
    if (at + 12 > bytes.length) throw fail('invalidImage', `PNG ends at byte ${bytes.length} without an IEND chunk.`);
    const length = view.getUint32(at);
    if (length > bytes.length - at - 12) {
      throw fail(
        'invalidImage',
        `PNG chunk at byte ${at} claims ${length} bytes; only ${bytes.length - at - 12} are left.`,
      );
    }
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 4, at + 8 + length);
    if (crc32(body) !== view.getUint32(at + 8 + length)) {
      throw fail('invalidImage', `PNG chunk ${JSON.stringify(type)} at byte ${at} is damaged: its checksum is wrong.`);
    }
    check(type, length, at);
    yield { type, data: body.subarray(4) };
    if (type === 'IEND') return;
    at += length + 12;
  }
}

/** §11.2: these cannot be skipped, and no others that cannot are known. */
const CRITICAL: readonly string[] = ['IHDR', 'PLTE', 'IDAT', 'IEND'];
const MOST_COLOURS = 256;

/** §5.6: the header once and first, a palette at most once and before the pixels, the pixels in one run. */
function createOrder(): (type: string, length: number, at: number) => void {
  const seen = new Set<string>();
  let last = '';
  const flawOf = (type: string, length: number): string | undefined => {
    if (!/^[A-Za-z]{4}$/.test(type)) return 'its type is not four letters';
    if ((type === 'IHDR') !== (last === ''))
      return last === '' ? 'a file must start with an IHDR chunk' : 'there is one already';
    if (/^[A-Z]/.test(type) && !CRITICAL.includes(type)) return 'it is required by the file but not known here';
    if (type === 'IDAT' && seen.has('IDAT') && last !== 'IDAT') return 'the pixels must be in one run of chunks';
    if (type !== 'PLTE') return undefined;
    if (seen.has('PLTE') || seen.has('IDAT')) return 'one palette is allowed, before the pixels';
    const whole = length % 3 === 0 && length >= 3 && length <= 3 * MOST_COLOURS;
    return whole ? undefined : `${length} bytes are no palette of 1 to ${MOST_COLOURS} colours`;
  };
  return (type, length, at) => {
    const flaw = flawOf(type, length);
    if (flaw !== undefined) throw fail('invalidImage', `PNG chunk ${JSON.stringify(type)} at byte ${at}: ${flaw}.`);
    seen.add(type);
    last = type;
  };
}

/** Whether the bytes start like a PNG file. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}
