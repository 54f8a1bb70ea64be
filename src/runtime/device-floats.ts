/** @file Floats of 16 or 8 bits in a file → the floats of a buffer, converted on the GPU: fewer bytes to send, and nothing for the CPU to do. */
import { padded } from '../base/arrays.js';
import type { FloatType } from '../base/dtype.js';
import type { Float8Type } from '../base/fp8.js';

/** How a file writes small floats. */
export type Coding = 'F16' | 'BF16' | Float8Type;

/** A change of coding that the GPU makes; in all others the bits are as they should be already. */
export interface Conversion {
  readonly from: Coding;
  readonly to: FloatType;
  /** A factor of all values, a normal float32 whose products with them are normal too. Default: none. */
  readonly scale?: number | undefined;
}

/** Values in 16 bits of a file. */
export const CODED_VALUES = { F16: 1, BF16: 1, F8_E4M3: 2, F8_E5M2: 2 } as const satisfies Record<Coding, number>;

export interface DeviceFloats {
  /**
   * Converts the floats of `bits` into `buffer`, from its value `at` on. Bit for bit what `base/half.ts` and `base/fp8.ts` give, but that NaNs
   * may be others. `at`, and but for the last piece the number of values, are even.
   */
  write(buffer: GPUBuffer, at: number, bits: Uint16Array, conversion: Conversion): Promise<void>;
  /** Whether a finite value was too large for float16 since this was last asked; waits for what was written. */
  overflowed(): Promise<boolean>;
  dispose(): void;
}

/** Units of 16 bits that are sent at a time. */
export const CHUNK_UNITS = 1 << 21;
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
      bits: create('small floats', 2 * CHUNK_UNITS, STORAGE | COPY_DST),
      place: create('place of floats', 16, UNIFORM | COPY_DST),
      flag: create('float16 overflow', 4, STORAGE | COPY_SRC | COPY_DST),
    });
  const pipelineOf = (conversion: Conversion): GPUComputePipeline => {
    const key = `${conversion.from} ${conversion.to}${conversion.scale === undefined ? '' : ' scaled'}`;
    const module = (): GPUShaderModule => device.createShaderModule({ label: key, code: shader(conversion) });
    const pipeline =
      pipelines.get(key) ??
      device.createComputePipeline({ label: key, layout: 'auto', compute: { module: module(), entryPoint: 'main' } });
    pipelines.set(key, pipeline);
    return pipeline;
  };

  return {
    async write(buffer, at, units, conversion) {
      const { bits, place, flag } = buffers();
      const pipeline = pipelineOf(conversion);
      const each = CODED_VALUES[conversion.from];
      const scale = floatBits(conversion.scale ?? 1);
      for (let done = 0; done < units.length; done += CHUNK_UNITS) {
        const chunk = units.subarray(done, done + CHUNK_UNITS);
        const words = Math.ceil(chunk.length / 2);
        const values = each * chunk.length;
        await send(bits, 0, padded(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength), 4));
        await send(place, 0, new Uint8Array(Uint32Array.of(at + each * done, words, values, scale).buffer));
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

function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
}

/**
 * A thread converts the values of a word, two or four, by way of float32: all in integers, since an implementation may take subnormal numbers
 * for zeros (WGSL §15.7.2); only a factor is a product of floats, which is rounded correctly.
 * https://www.w3.org/TR/WGSL/#floating-point-evaluation
 */
function shader({ from, to, scale }: Conversion): string {
  const [count, width] = CODED_VALUES[from] === 1 ? [2, 16] : [4, 8];
  const numbers = Array.from({ length: count }, (_, i) => i);
  const coded = (i: number): string => `(word >> ${width * i}u) & ${2 ** width - 1}u`;
  const wide = (i: number): string =>
    scale === undefined ? `decode(${coded(i)})` : `scaled(decode(${coded(i)}), bitcast<f32>(place.scale))`;
  const half = (i: number): string => `select(0u, to_half(${wide(i)}), first + ${i}u < place.values)`;
  const stores =
    to === 'float32'
      ? numbers.map((i) => `if (first + ${i}u < place.values) { out[place.at + first + ${i}u] = ${wide(i)}; }`)
      : numbers
          .filter((i) => i % 2 === 0)
          .map((i) => {
            // A last half without a partner leaves the other half of its word at 0.
            const store = `out[(place.at + first + ${i}u) / 2u] = ${half(i)} | (${half(i + 1)} << 16u);`;
            return `if (first + ${i}u < place.values) { ${store} }`;
          });
  return `
struct Place { at: u32, words: u32, values: u32, scale: u32 }
@group(0) @binding(0) var<storage, read> bits: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> place: Place;
${to === 'float16' ? `@group(0) @binding(3) var<storage, read_write> overflow: atomic<u32>;${TO_HALF}` : ''}
${DECODE[from]}
${scale === undefined ? '' : SCALED}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= place.words) { return; }
  let word = bits[i];
  let first = ${count}u * i;
  ${stores.join('\n  ')}
}`;
}

/** Bits of a float with `fraction` bits of fraction and an exponent of `bias` → those of the float32 of its value, numbers that are finite. */
const finite = (fraction: number, bias: number): string => `
fn finite(sign: u32, exponent: u32, fraction: u32) -> u32 {
  if (exponent != 0u) { return sign | ((exponent + ${127 - bias}u) << 23u) | (fraction << ${23 - fraction}u); }
  if (fraction == 0u) { return sign; }
  let shift = countLeadingZeros(fraction) - ${31 - fraction}u; // its first one becomes the implicit one
  return sign | ((${128 - bias}u - shift) << 23u) | (((fraction << shift) & ${2 ** fraction - 1}u) << ${23 - fraction}u);
}`;

/** The bits of a value → those of a float32. */
const DECODE: Readonly<Record<Coding, string>> = {
  BF16: 'fn decode(h: u32) -> u32 { return h << 16u; }',
  F16: `${finite(10, 15)}
fn decode(h: u32) -> u32 {
  let sign = (h & 0x8000u) << 16u;
  if ((h & 0x7c00u) == 0x7c00u) { return sign | 0x7f800000u | ((h & 0x3ffu) << 13u); }
  return finite(sign, (h >> 10u) & 0x1fu, h & 0x3ffu);
}`,
  F8_E4M3: `${finite(3, 7)}
fn decode(b: u32) -> u32 {
  let sign = (b & 0x80u) << 24u;
  if ((b & 0x7fu) == 0x7fu) { return sign | 0x7fc00000u; }
  return finite(sign, (b >> 3u) & 0xfu, b & 7u);
}`,
  F8_E5M2: `${finite(2, 15)}
fn decode(b: u32) -> u32 {
  let sign = (b & 0x80u) << 24u;
  if ((b & 0x7cu) == 0x7cu) { return sign | 0x7f800000u | ((b & 3u) << 21u); }
  return finite(sign, (b >> 2u) & 0x1fu, b & 3u);
}`,
};

/** An implementation may assume that there are neither infinities nor NaNs. */
const SCALED = `
fn scaled(f: u32, factor: f32) -> u32 {
  if ((f & 0x7f800000u) == 0x7f800000u) { return f; }
  return bitcast<u32>(bitcast<f32>(f) * factor);
}`;

/** float32 → float16, to nearest even. */
const TO_HALF = `
fn to_half(f: u32) -> u32 {
  let sign = (f >> 16u) & 0x8000u;
  let magnitude = f & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude == 0x7f800000u) { return sign | 0x7c00u; }
  if (magnitude >= 0x477ff000u) { atomicStore(&overflow, 1u); return sign | 0x7c00u; } // 65520 and more
  let exponent = magnitude >> 23u;
  if (exponent < 102u) { return sign; }
  let normal = exponent > 112u;
  let m = (magnitude & 0x7fffffu) | 0x800000u;
  let shift = select(126u - exponent, 13u, normal); // of a subnormal, the value is m · 2^(exponent − 150), its unit 2^−24
  let kept = m >> shift;
  let rest = m & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  let rounded = kept + select(0u, 1u, rest > middle || (rest == middle && (kept & 1u) == 1u));
  // A fraction that is rounded up to 2 goes over into the exponent; the implicit one of a normal number counts as 1 there.
  return sign | select(rounded, ((exponent - 113u) << 10u) + rounded, normal);
}`;
