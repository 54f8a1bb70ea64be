/** @file SHA-256 against the published vectors of NIST and against node:crypto at every length around a block, however the bytes come. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSha256, sha256 } from '../../../src/assets/download/sha256.js';
import { utf8 } from './support.js';

const byNode = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('sha256', () => {
  // FIPS 180-2 appendix B, and the empty message of the SHA-256 test vectors of NIST's CAVP
  it.each([
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    ],
    ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
  ])('of a published message (%#)', (text, expected) => expect(sha256(utf8(text))).toBe(expected));

  it('agrees with node:crypto at every length of up to three blocks', () => {
    const bytes = Uint8Array.from({ length: 200 }, (_, i) => (i * 37 + 11) & 255);
    for (let length = 0; length <= bytes.length; length++) {
      const part = bytes.subarray(0, length);
      expect(sha256(part), String(length)).toBe(byNode(part));
    }
  });

  it('does not depend on how the bytes come, and can be asked on the way', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 }), (parts) => {
        const hash = createSha256();
        const all: number[] = [];
        for (const part of parts) {
          hash.update(part);
          all.push(...part);
          expect(hash.digest()).toBe(byNode(Uint8Array.from(all)));
        }
      }),
    );
  });

  it('counts bits beyond 32 bits of length', { timeout: 60_000 }, () => {
    const piece = new Uint8Array(1 << 20);
    const ours = createSha256();
    const theirs = createHash('sha256');
    for (let i = 0; i < 520; i++) {
      ours.update(piece); // 520 MiB are 4.36e9 bits
      theirs.update(piece);
    }
    expect(ours.digest()).toBe(theirs.digest('hex'));
  });
});
