/** @file Floats of 16 bits in a file → the floats of a buffer, converted on the GPU: half the bytes to send, and nothing for the CPU to do. */
import { padded } from '../base/arrays.js';
import type { FloatType } from '../base/dtype.js';

/** How a file writes floats of 16 bits. */
export type Coding = 'F16' | 'BF16';

/** A change of coding that the GPU makes; in all others the bits are as they should be already. */
export interface Conversion {
  readonly from: Coding;
  readonly to: FloatType;
}

export interface DeviceFloats {
  /**
   * Converts the floats of `bits` into `buffer`, from its value `at` on. Bit for bit what `base/half.ts` gives, but that NaNs keep their
   * fractions. `at`, and but for the last piece the number of values, are even.
   */
  write(buffer: GPUBuffer, at: number, bits: Uint16Array, conversion: Conversion): Promise<void>;
  /** Whether a finite value was too large for float16 since this was last asked; waits for what was written. */
  overflowed(): Promise<boolean>;
  dispose(): void;
}

/** Values that are sent at a time. */
export const CHUNK_VALUES = 1 << 21;
const WORKGROUP = 256;

/** Programs that were compiled for a device, by conversion. */
export type ConversionPipelines = Map<string, GPUComputePipeline>;

/**
 * Makes its buffers when they are first needed.
 * @param send writes bytes, a multiple of 4, into a buffer
 * @param pipelines those of this device, which outlive this
 */
export function createDeviceFloats(
  device: GPUDevice,
  send: (buffer: GPUBuffer, at: number, bytes: Uint8Array) => Promise<void>,
  pipelines: ConversionPipelines = new Map(),
): DeviceFloats {
  const { STORAGE, COPY_DST, COPY_SRC, UNIFORM, MAP_READ } = GPUBufferUsage;
  const made: GPUBuffer[] = [];
  let shared: Readonly<Record<'bits' | 'place' | 'flag', GPUBuffer>> | undefined;
  const create = (label: string, size: number, usage: number): GPUBuffer => {
    const buffer = device.createBuffer({ label, size, usage });
    made.push(buffer);
    return buffer;
  };
  const buffers = (): NonNullable<typeof shared> =>
    (shared ??= {
      bits: create('16-bit floats', 2 * CHUNK_VALUES, STORAGE | COPY_DST),
      place: create('place of floats', 16, UNIFORM | COPY_DST),
      flag: create('float16 overflow', 4, STORAGE | COPY_SRC | COPY_DST),
    });
  const pipelineOf = ({ from, to }: Conversion): GPUComputePipeline => {
    const key = `${from} ${to}`;
    const module = (): GPUShaderModule => device.createShaderModule({ label: key, code: shader({ from, to }) });
    const pipeline =
      pipelines.get(key) ??
      device.createComputePipeline({ label: key, layout: 'auto', compute: { module: module(), entryPoint: 'main' } });
    pipelines.set(key, pipeline);
    return pipeline;
  };

  return {
    async write(buffer, at, values, conversion) {
      const { bits, place, flag } = buffers();
      const pipeline = pipelineOf(conversion);
      for (let done = 0; done < values.length; done += CHUNK_VALUES) {
        const chunk = values.subarray(done, done + CHUNK_VALUES);
        const words = Math.ceil(chunk.length / 2);
        await send(bits, 0, padded(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength), 4));
        await send(place, 0, new Uint8Array(Uint32Array.of(at + done, words, chunk.length, 0).buffer));
        const group = device.createBindGroup({
          layout: pipeline.getBindGroupLayout(0),
          entries: [bits, buffer, place, ...(conversion.to === 'float16' ? [flag] : [])].map((resource, binding) => ({
            binding,
            resource: { buffer: resource },
          })),
        });
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(Math.ceil(words / WORKGROUP));
        pass.end();
        device.queue.submit([encoder.finish()]);
      }
    },
    async overflowed() {
      if (shared === undefined) return false;
      const staging = device.createBuffer({ label: 'read', size: 4, usage: COPY_DST | MAP_READ });
      try {
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(shared.flag, 0, staging, 0, 4);
        encoder.clearBuffer(shared.flag);
        device.queue.submit([encoder.finish()]);
        await staging.mapAsync(GPUMapMode.READ);
        return new Uint32Array(staging.getMappedRange())[0] !== 0;
      } finally {
        staging.destroy();
      }
    },
    dispose() {
      for (const buffer of made) buffer.destroy();
      made.length = 0;
      shared = undefined;
    },
  };
}

/**
 * Integers only, since an implementation may take subnormal numbers for zeros (WGSL §15.7.2). A thread converts the two values of a word.
 * https://www.w3.org/TR/WGSL/#floating-point-evaluation
 */
function shader({ from, to }: Conversion): string {
  const convert = `${from === 'F16' ? 'half' : 'brain'}_to_${to === 'float32' ? 'float' : 'half'}`;
  return `
struct Place { at: u32, words: u32, values: u32, unused: u32 }
@group(0) @binding(0) var<storage, read> bits: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> place: Place;
${to === 'float16' ? '@group(0) @binding(3) var<storage, read_write> overflow: atomic<u32>;' : ''}
${FUNCTIONS[convert] ?? ''}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= place.words) { return; }
  let word = bits[i];
  ${to === 'float32' ? storeFloats(convert) : storeHalves(convert)}
}`;
}

const storeFloats = (convert: string): string => `
  out[place.at + 2u * i] = ${convert}(word & 0xffffu);
  if (2u * i + 1u < place.values) { out[place.at + 2u * i + 1u] = ${convert}(word >> 16u); }`;

/** A last half without a partner leaves the other half of its word at 0. */
const storeHalves = (convert: string): string => `
  let low = ${convert}(word & 0xffffu);
  let high = select(0u, ${convert}(word >> 16u), 2u * i + 1u < place.values);
  out[place.at / 2u + i] = low | (high << 16u);`;

const FUNCTIONS: Readonly<Record<string, string>> = {
  brain_to_float: 'fn brain_to_float(h: u32) -> u32 { return h << 16u; }',
  half_to_float: `
fn half_to_float(h: u32) -> u32 {
  let sign = (h & 0x8000u) << 16u;
  let exponent = (h >> 10u) & 0x1fu;
  let fraction = h & 0x3ffu;
  if (exponent == 31u) { return sign | 0x7f800000u | (fraction << 13u); }
  if (exponent != 0u) { return sign | ((exponent + 112u) << 23u) | (fraction << 13u); }
  if (fraction == 0u) { return sign; }
  let shift = countLeadingZeros(fraction) - 21u; // its first one becomes the implicit one
  return sign | ((113u - shift) << 23u) | (((fraction << shift) & 0x3ffu) << 13u);
}`,
  brain_to_half: `
fn brain_to_half(h: u32) -> u32 {
  let sign = h & 0x8000u;
  let magnitude = h & 0x7fffu;
  let exponent = magnitude >> 7u;
  if (magnitude > 0x7f80u) { return sign | 0x7e00u; }
  if (magnitude == 0x7f80u) { return sign | 0x7c00u; }
  if (exponent >= 143u) { atomicStore(&overflow, 1u); return sign | 0x7c00u; }
  if (exponent > 112u) { return sign | ((exponent - 112u) << 10u) | ((h & 0x7fu) << 3u); }
  if (exponent < 102u) { return sign; }
  let m = ((h & 0x7fu) | 0x80u) << 3u; // subnormal: the value is m · 2^(exponent − 137), its unit 2^−24
  let shift = 113u - exponent;
  let kept = m >> shift;
  let rest = m & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, rest > half || (rest == half && (kept & 1u) == 1u)));
}`,
};
