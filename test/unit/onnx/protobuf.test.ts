/** @file The wire format: published examples of the protobuf encoding, and every varint decodes to what was written. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { message, toBytes, varint } from '../../../src/onnx/protobuf.js';

const hex = (bytes: Uint8Array): string => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(' ');

/** Base-128 varint, read back as a signed 64-bit number. */
function readVarint(bytes: Uint8Array): bigint {
  return BigInt.asIntN(
    64,
    bytes.reduceRight((value, byte) => (value << 7n) | BigInt(byte & 0x7f), 0n),
  );
}

describe('protobuf', () => {
  // https://protobuf.dev/programming-guides/encoding/: the page's own examples.
  it.each([
    [150, '96 01'],
    [1, '01'],
    [-2, 'fe ff ff ff ff ff ff ff ff 01'],
  ])('writes the varint %i as documented', (value, expected) => {
    expect(hex(varint(value))).toBe(expected);
  });

  it('writes documented messages', () => {
    expect(hex(toBytes(message().varint(1, 150)))).toBe('08 96 01');
    expect(hex(toBytes(message().text(2, 'testing')))).toBe('12 07 74 65 73 74 69 6e 67');
    expect(hex(toBytes(message().message(3, message().varint(1, 150))))).toBe('1a 03 08 96 01');
    expect(hex(toBytes(message().packedVarints(6, [3, 270, 86942])))).toBe('32 06 03 8e 02 9e a7 05');
  });

  it('writes floats in little-endian order', () => {
    expect(hex(toBytes(message().float(2, 1)))).toBe('15 00 00 80 3f');
  });

  it('round-trips every integer that a double holds', () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => readVarint(varint(value)) === BigInt(value)));
  });
});
