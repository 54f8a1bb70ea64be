/** @file Stored tensor bytes → the float arrays that graphs compute with. Assumes a little-endian machine, as every browser's is. */
import { DTYPE_BYTES, type DType, type FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from '../base/half.js';

/** What each float type is held in; float16 as its bits. */
export interface FloatArrays {
  readonly float32: Float32Array;
  readonly float16: Uint16Array;
}

/**
 * Converts the bytes of one tensor. F16 → float16 and F32 → float32 may share memory with `bytes`; every other conversion is a
 * new array. Rounds to nearest even; F64 goes through float32, as torch's does.
 * @throws invalidModelFile when the tensor does not hold floats, or holds finite values beyond float16's 65504
 */
export function decodeFloats<A extends FloatType>(
  bytes: Uint8Array,
  dtype: DType,
  as: A,
  where: string,
): FloatArrays[A] {
  return DECODERS[as](bytes, dtype, where);
}

type Decoders = { readonly [A in FloatType]: (bytes: Uint8Array, dtype: DType, where: string) => FloatArrays[A] };

const DECODERS: Decoders = {
  float32: decodeFloat32,
  float16: (bytes, dtype, where) => {
    if (dtype === 'F16') return halves(bytes);
    const values = decodeFloat32(bytes, dtype, where);
    const bits = float32ToFloat16(values);
    refuseOverflow(values, bits, where);
    return bits;
  },
};

function decodeFloat32(bytes: Uint8Array, dtype: DType, where: string): Float32Array {
  const read = TO_FLOAT32[dtype];
  if (read !== undefined) return read(bytes);
  throw fail('invalidModelFile', `${where} has dtype ${dtype}; expected ${Object.keys(TO_FLOAT32).join(', ')}.`, {
    hint: 'Quantised and float8 files cannot be used: get the model in float16 or float32.',
  });
}

const TO_FLOAT32: { readonly [D in DType]?: (bytes: Uint8Array) => Float32Array } = {
  F32: (bytes) => {
    const { buffer, byteOffset, length } = aligned(bytes, 'F32');
    return new Float32Array(buffer, byteOffset, length / 4);
  },
  F16: (bytes) => float16ToFloat32(halves(bytes)),
  BF16: (bytes) => bfloat16ToFloat32(halves(bytes)),
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

/** An Infinity made by rounding would turn a whole picture into NaN, far from its cause. */
function refuseOverflow(values: Float32Array, bits: Uint16Array, where: string): void {
  for (let i = 0; i < bits.length; i++) {
    const value = values[i] ?? 0;
    if (((bits[i] ?? 0) & 0x7fff) === 0x7c00 && Number.isFinite(value)) {
      throw fail('invalidModelFile', `${where} holds ${value}, which float16 (up to 65504) cannot.`, {
        hint: 'This model needs float32.',
      });
    }
  }
}
