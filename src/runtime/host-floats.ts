/**
 * @file What `device-floats.ts` does, in JavaScript: for a device that is software, whose programs run on this CPU too, several times as slowly
 * (`npm run bench -- load`).
 */
import { float8ToFloat32 } from '../base/fp8.js';
import { bfloat16ToFloat32, float16ToFloat32 } from '../base/half.js';
import { CHUNK_UNITS, CODED_VALUES, type Coding, type DeviceFloats } from './device-floats.js';

const BYTES_PER_FLOAT = 4;

const DECODERS: Readonly<Record<Coding, (units: Uint16Array, out: Float32Array) => Float32Array>> = {
  F16: float16ToFloat32,
  BF16: bfloat16ToFloat32,
  F8_E4M3: (units, out) => float8ToFloat32(bytesOf(units), 'F8_E4M3', out),
  F8_E5M2: (units, out) => float8ToFloat32(bytesOf(units), 'F8_E5M2', out),
};

/** Whether a device is one of software. */
export function isSoftware(device: GPUDevice): boolean {
  return 'adapterInfo' in device && device.adapterInfo.isFallbackAdapter;
}

/**
 * To float32 alone.
 * @param send writes bytes, a multiple of 4, into a buffer, and is done with them before it returns
 */
export function createHostFloats(
  send: (buffer: GPUBuffer, at: number, bytes: Uint8Array) => Promise<void>,
): DeviceFloats {
  let room = new Float32Array(0);
  return {
    async write(buffer, at, units, { from, scale }) {
      const each = CODED_VALUES[from];
      for (let done = 0; done < units.length; done += CHUNK_UNITS) {
        const chunk = units.subarray(done, done + CHUNK_UNITS);
        const count = each * chunk.length;
        if (room.length < count) room = new Float32Array(count);
        const values = DECODERS[from](chunk, room.subarray(0, count));
        if (scale !== undefined) scaleBy(values, Math.fround(scale));
        await send(buffer, BYTES_PER_FLOAT * (at + each * done), bytesOf(values));
      }
    },
    overflowed: () => Promise.resolve(false),
    dispose() {
      room = new Float32Array(0);
    },
  };
}

function scaleBy(values: Float32Array, factor: number): void {
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * factor;
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint16Array | Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
