/**
 * @file As much of a WebAssembly assembler as `sum-kernel.ts` needs: instructions by name, and functions over one memory → the
 * bytes of a module. It checks nothing: the engine does, when the module is made. Imports nothing.
 *
 * Source: WebAssembly Core Specification 2.0, chapter 5 "Binary Format" (https://www.w3.org/TR/wasm-core-2/#binary-format%E2%91%A0).
 */

/** Bytes of a part of a module. */
export type Code = readonly number[];

/** LEB128 of a whole number from 0 to 2³¹ − 1 (§5.2.2). */
const unsigned = (n: number): Code => (n < 128 ? [n] : [(n & 127) | 128, ...unsigned(n >>> 7)]);

/** A count and as many items (§5.1.3). */
const vector = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];

/** A count of bytes and the bytes: a section's or a function's. */
const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];

/** Types of values (§5.3). `v128`: 16 bytes, here two doubles. */
const TYPES = { i32: 0x7f, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = keyof typeof TYPES;
const typeOf = (type: ValueType): Code => [TYPES[type]];

/** An instruction on vectors (§5.4.8). */
const simd = (opcode: number, ...immediates: Code): Code => [0xfd, ...unsigned(opcode), ...immediates];

/** Where an access of 8 bytes goes: alignment as a power of two, which is a hint, and what is added to the address. */
const eightBytesAt = (offset: number): Code => [3, ...unsigned(offset)];

/** Instructions (§5.4) under their names in the text format. Operands come from the stack, results go there. */
export const wasm = {
  localGet: (local: number): Code => [0x20, ...unsigned(local)],
  localSet: (local: number): Code => [0x21, ...unsigned(local)],
  /** Sets a local and leaves the value on the stack. */
  localTee: (local: number): Code => [0x22, ...unsigned(local)],
  /** Runs its body once, and again as long as it leaves an integer other than 0: `loop … br_if 0 end`. */
  loopWhile: (...body: readonly Code[]): Code => [0x03, 0x40, ...body.flat(), 0x0d, 0, 0x0b],
  /** @param value 0…63, which signed LEB128 writes as one byte */
  i32Const: (value: number): Code => [0x41, value],
  i32LtU: [0x49],
  i32Add: [0x6a],
  f64Add: [0xa0],
  f64x2Splat: simd(0x14),
  f64x2ExtractLane: (lane: 0 | 1): Code => simd(0x21, lane),
  /** Stores the lower 8 bytes. */
  v128Store64Lane0: (offset: number): Code => simd(0x5b, ...eightBytesAt(offset), 0),
  /** Loads 8 bytes; the upper ones become 0. */
  v128Load64Zero: (offset: number): Code => simd(0x5d, ...eightBytesAt(offset)),
  /** Two doubles → two floats, rounded to nearest even, and two zeros. */
  f32x4DemoteF64x2Zero: simd(0x5e),
  /** The lower two floats → two doubles. */
  f64x2PromoteLowF32x4: simd(0x5f),
  f64x2Abs: simd(0xec),
  f64x2Add: simd(0xf0),
  f64x2Mul: simd(0xf2),
} as const satisfies Record<string, Code | ((...args: never[]) => Code)>;

export interface WasmFunction {
  /** The name under which it is exported. */
  readonly name: string;
  /** Locals 0, 1, …: the parameters, then the rest, which begin as 0. */
  readonly params: readonly ValueType[];
  readonly locals: readonly ValueType[];
  readonly result: ValueType;
  /** Must leave the result on the stack. */
  readonly body: Code;
}

/** §5.5: the sections in their order, each under its number. */
const SECTIONS = { type: 1, function: 3, memory: 5, export: 7, code: 10 } as const;
const section = (name: keyof typeof SECTIONS, items: readonly Code[]): Code => [
  SECTIONS[name],
  ...sized(vector(items)),
];

/** A name, and what it names: function (kind 0) or memory (kind 2) number `index` (§5.5.10). */
const exported = (name: string, kind: 0 | 2, index: number): Code => [
  ...sized([...new TextEncoder().encode(name)]),
  kind,
  ...unsigned(index),
];

/**
 * The bytes of a module that exports `functions` under their names and its memory as `memory`.
 *
 * @param pages of 64 KiB, that the memory has
 */
export function assemble(functions: readonly WasmFunction[], pages: number): Uint8Array<ArrayBuffer> {
  const types = functions.map((f) => [0x60, ...vector(f.params.map(typeOf)), ...vector([typeOf(f.result)])]);
  const bodies = functions.map((f) => sized([...vector(f.locals.map((t) => [1, ...typeOf(t)])), ...f.body, 0x0b]));
  return Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d], // "\0asm"
    ...[1, 0, 0, 0], // version
    ...section('type', types),
    ...section(
      'function',
      functions.map((_, type) => unsigned(type)),
    ),
    ...section('memory', [[0, ...unsigned(pages)]]), // 0: no upper limit, of which no use is made
    ...section('export', [exported('memory', 2, 0), ...functions.map((f, i) => exported(f.name, 0, i))]),
    ...section('code', bodies),
  );
}
