/** @file The few protobuf wire types a ModelProto needs (https://protobuf.dev/programming-guides/encoding/). Imports nothing. */

/** A message body under construction: a list of chunks, joined once at the end. */
export interface Message {
  varint(field: number, value: number): Message;
  float(field: number, value: number): Message;
  text(field: number, value: string): Message;
  bytes(field: number, value: Uint8Array): Message;
  message(field: number, value: Message): Message;
  packedVarints(field: number, values: readonly number[]): Message;
  packedFloats(field: number, values: readonly number[]): Message;
  readonly size: number;
  writeTo(out: Uint8Array, at: number): number;
}

const VARINT = 0;
const LENGTH = 2;
const FIXED32 = 5;

const encoder = new TextEncoder();

/** An empty message. */
export function message(): Message {
  const chunks: (Uint8Array | Message)[] = [];
  let size = 0;
  const push = (chunk: Uint8Array | Message): void => {
    chunks.push(chunk);
    size += chunk instanceof Uint8Array ? chunk.length : chunk.size;
  };
  const tag = (field: number, wireType: number): void => push(varint(field * 8 + wireType));
  const block = (field: number, body: Uint8Array | Message): void => {
    tag(field, LENGTH);
    push(varint(body instanceof Uint8Array ? body.length : body.size));
    push(body);
  };
  const self: Message = {
    varint(field, value) {
      tag(field, VARINT);
      push(varint(value));
      return self;
    },
    float(field, value) {
      tag(field, FIXED32);
      push(new Uint8Array(Float32Array.of(value).buffer));
      return self;
    },
    text(field, value) {
      block(field, encoder.encode(value));
      return self;
    },
    bytes(field, value) {
      block(field, value);
      return self;
    },
    message(field, value) {
      block(field, value);
      return self;
    },
    packedVarints(field, values) {
      block(field, concat(values.map(varint)));
      return self;
    },
    packedFloats(field, values) {
      block(field, new Uint8Array(Float32Array.from(values).buffer));
      return self;
    },
    get size() {
      return size;
    },
    writeTo(out, at) {
      for (const chunk of chunks) {
        if (chunk instanceof Uint8Array) {
          out.set(chunk, at);
          at += chunk.length;
        } else at = chunk.writeTo(out, at);
      }
      return at;
    },
  };
  return self;
}

/** The bytes of a finished message. */
export function toBytes(body: Message): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(body.size);
  body.writeTo(out, 0);
  return out;
}

/** Base-128 varint; negative numbers take ten bytes, as int64 does. Exact for |value| ≤ 2^53. */
export function varint(value: number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    out.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Uint8Array.from(out);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
