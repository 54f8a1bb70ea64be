/** @file Stored tensor bytes → the float arrays that graphs compute with. Assumes a little-endian machine, as every browser's is. */
import { DTYPE_BYTES, type DType, type FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { float8ToFloat16, float8ToFloat32 } from '../base/fp8.js';
import { BLOCK_FORMATS, decodeBlocks, isBlockType, type BlockType } from '../base/gguf-blocks.js';
import { bfloat16ToFloat16, bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from '../base/half.js';

/** How the values of a tensor are stored. */
export type StoredType = DType | BlockType;

/** What each float type is held in; float16 as its bits. */
export interface FloatArrays {
  readonly float32: Float32Array;
  readonly float16: Uint16Array;
}

/** Bytes of `values` values; of block formats, of whole blocks. Infinity where they are not whole blocks, or too many to be exact. */
export function storedBytes(values: number, type: StoredType): number {
  const { values: size, bytes } = isBlockType(type) ? BLOCK_FORMATS[type] : { values: 1, bytes: DTYPE_BYTES[type] };
  const total = (values / size) * bytes;
  return values % size === 0 && Number.isSafeInteger(total) ? total : Infinity;
}

/**
 * Converts the bytes of one tensor, or of some rows of it. F16 → float16 and F32 → float32 may share memory with `bytes`; every other
 * conversion is a new array. Rounds to nearest even; F64 and block formats go through float32, as torch's F64 does.
 * @throws invalidModelFile when the tensor does not hold floats, or holds finite values beyond float16's 65504
 */
export function decodeFloats<A extends FloatType>(
  bytes: Uint8Array,
  dtype: StoredType,
  as: A,
  where: string,
): FloatArrays[A] {
  return DECODERS[as](bytes, dtype, where);
}

type Decoders = { readonly [A in FloatType]: (bytes: Uint8Array, dtype: StoredType, where: string) => FloatArrays[A] };

const DECODERS: Decoders = {
  float32: decodeFloat32,
  float16: (bytes, dtype, where) => {
    if (dtype === 'F16') return halves(bytes);
    if (dtype === 'F8_E4M3' || dtype === 'F8_E5M2') return float8ToFloat16(bytes, dtype);
    if (dtype === 'BF16') return fromBfloat16(halves(bytes), where);
    return toHalves(decodeFloat32(bytes, dtype, where), where);
  },
};

function decodeFloat32(bytes: Uint8Array, dtype: StoredType, where: string): Float32Array {
  if (isBlockType(dtype)) return decodeBlocks(bytes, dtype);
  const read = TO_FLOAT32[dtype];
  if (read !== undefined) return read(bytes);
  throw fail('invalidModelFile', `${where} has dtype ${dtype}; expected ${Object.keys(TO_FLOAT32).join(', ')}.`, {
    hint: 'It is no tensor of floats, or quantised in a way that is not known here: get the model in float16, float8 or GGUF.',
  });
}

const TO_FLOAT32: { readonly [D in DType]?: (bytes: Uint8Array) => Float32Array } = {
  F32: (bytes) => {
    const { buffer, byteOffset, length } = aligned(bytes, 'F32');
    return new Float32Array(buffer, byteOffset, length / 4);
  },
  F16: (bytes) => float16ToFloat32(halves(bytes)),
  BF16: (bytes) => bfloat16ToFloat32(halves(bytes)),
  F8_E4M3: (bytes) => float8ToFloat32(bytes, 'F8_E4M3'),
  F8_E5M2: (bytes) => float8ToFloat32(bytes, 'F8_E5M2'),
  F64: (bytes) => {
    const { buffer, byteOffset, length } = aligned(bytes, 'F64');
    return Float32Array.from(new Float64Array(buffer, byteOffset, length / 8));
  },
};

function halves(bytes: Uint8Array): Uint16Array {
  const { buffer, byteOffset, length } = aligned(bytes, 'F16');
  return new Uint16Array(buffer, byteOffset, length / 2);
}

/** `bytes` itself, or a copy where a typed array could not be laid over it. */
function aligned(bytes: Uint8Array, dtype: DType): Uint8Array {
  return bytes.byteOffset % DTYPE_BYTES[dtype] === 0 ? bytes : bytes.slice();
}

/** float32 → float16 bits. @throws invalidModelFile for finite values beyond 65504 */
export function toHalves(values: Float32Array, where: string): Uint16Array {
  const bits = float32ToFloat16(values);
  for (let i = 0; i < bits.length; i++) {
    if (((bits[i] ?? 0) & 0x7fff) === INFINITE && Number.isFinite(values[i])) throw overflow(values[i] ?? 0, where);
  }
  return bits;
}

function fromBfloat16(bits: Uint16Array, where: string): Uint16Array {
  const out = bfloat16ToFloat16(bits);
  for (let i = 0; i < out.length; i++) {
    if (((out[i] ?? 0) & 0x7fff) !== INFINITE || ((bits[i] ?? 0) & 0x7fff) === 0x7f80) continue;
    throw overflow(bfloat16ToFloat32(bits.subarray(i, i + 1))[0] ?? 0, where);
  }
  return out;
}

const INFINITE = 0x7c00;

/** An Infinity made by rounding would turn a whole picture into NaN, far from its cause. */
function overflow(value: number, where: string): Error {
  return fail('invalidModelFile', `${where} holds ${value}, which float16 (up to 65504) cannot.`, {
    hint: 'This model needs float32.',
  });
}
