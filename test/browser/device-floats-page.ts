/** @file What runs inside the page for the tests of floats that are converted on the GPU: every value, against the browser's own conversions. */
import { createDeviceFloats, type Coding } from '../../src/runtime/device-floats.js';
import { createHostFloats } from '../../src/runtime/host-floats.js';
import { findAdapter } from '../../src/runtime/device.js';
import type { FloatType } from '../../src/base/dtype.js';

/** The browser's own float16 (ECMAScript 2025), which is no code of ours. */
type Float16Maker = new (
  source: ArrayBuffer | ArrayLike<number>,
) => ArrayLike<number> & { readonly buffer: ArrayBuffer };
const Float16 = Reflect.get(globalThis, 'Float16Array') as Float16Maker;

const float16 = (bits: Uint16Array): ArrayLike<number> => new Float16(bits.slice().buffer);
const bytesOf = (units: Uint16Array): Uint8Array => new Uint8Array(units.slice().buffer);

/** The values of units of 16 bits. */
const VALUES: Readonly<Record<Coding, (units: Uint16Array) => ArrayLike<number>>> = {
  F16: float16,
  BF16: (units) => new Float32Array(Uint32Array.from(units, (b) => b << 16).buffer),
  // Four bits of exponent and three of fraction in the place of a float16's, whose bias is larger by 8; but for NaN, the largest of them.
  F8_E4M3: (units) => {
    const bytes = bytesOf(units);
    const halves = Float32Array.from(float16(Uint16Array.from(bytes, (b) => ((b & 0x80) << 8) | ((b & 0x7f) << 7))));
    return halves.map((value, i) => (((bytes[i] ?? 0) & 0x7f) === 0x7f ? NaN : 256 * value));
  },
  // The upper half of a float16.
  F8_E5M2: (units) => float16(Uint16Array.from(bytesOf(units), (b) => b << 8)),
};

export interface FloatsReport {
  readonly values: number;
  /** Where the bits are others than they should be; any NaN is as good as another. */
  readonly wrong: readonly string[];
  /** What lies before and behind what was written; it was zeros. */
  readonly around: readonly number[];
  readonly overflowed: readonly boolean[];
}

/** Converts the values of `units` to the middle of a buffer. */
async function convert(
  by: 'device' | 'host',
  from: Coding,
  to: FloatType,
  units: Uint16Array,
  scale?: number,
): Promise<FloatsReport> {
  const adapter = await findAdapter(navigator.gpu);
  if (typeof adapter === 'string') throw new Error(adapter);
  const device = await adapter.requestDevice();
  const send = (target: GPUBuffer, at: number, sent: Uint8Array): Promise<void> => {
    device.queue.writeBuffer(target, at, sent.slice());
    return Promise.resolve();
  };
  const floats = by === 'host' ? createHostFloats(send) : createDeviceFloats(device, send);
  const bytes = to === 'float32' ? 4 : 2;
  const [before, behind] = [6, 5];
  const wanted = Float32Array.from(VALUES[from](units), (value) => value * Math.fround(scale ?? 1));
  const size = Math.ceil(((before + wanted.length + behind) * bytes) / 4) * 4;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size, usage });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const half = 2 * Math.floor(units.length / 4);
  const each = wanted.length / units.length;
  await floats.write(buffer, before, units.subarray(0, half), { from, to, scale });
  await floats.write(buffer, before + each * half, units.subarray(half), { from, to, scale });
  const overflowed = [await floats.overflowed(), await floats.overflowed()];
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const all = to === 'float32' ? new Uint32Array(staging.getMappedRange()) : new Uint16Array(staging.getMappedRange());
  const wantedBits = new Uint32Array(wanted.slice().buffer);
  const halves = new Uint16Array(new Float16(wanted).buffer);
  const wrong: string[] = [];
  wanted.forEach((value, i) => {
    const got = all[before + i] ?? -1;
    const isNaN = to === 'float32' ? (got & 0x7fffffff) > 0x7f800000 : (got & 0x7fff) > 0x7c00;
    const right = Number.isNaN(value) ? isNaN : got === (to === 'float32' ? wantedBits : halves)[i];
    if (!right) wrong.push(`${value} → ${got.toString(16)}`);
  });
  const around = [...all.slice(0, before), ...all.slice(before + wanted.length)];
  floats.dispose();
  device.destroy();
  return { values: wanted.length, wrong: wrong.slice(0, 20), around, overflowed };
}

/** All 65,536 units and one more, so that their number is odd; of bfloat16 → float16 also those alone that fit. */
async function everyValue(
  by: 'device' | 'host',
  from: Coding,
  to: FloatType,
  only: 'all' | 'fitting',
  scale?: number,
): Promise<FloatsReport> {
  const all = Uint16Array.from({ length: 65537 }, (_, i) => i);
  const fits = (bits: number): boolean => {
    const value = Math.abs(VALUES.BF16(Uint16Array.of(bits))[0] ?? 0);
    return !(value >= 65520 && value < Infinity); // what rounds to 65504 or is no number
  };
  return convert(by, from, to, only === 'all' ? all : all.filter(fits), scale);
}

/** More values than are sent at a time. */
async function manyValues(by: 'device' | 'host', from: Coding, to: FloatType, count: number): Promise<FloatsReport> {
  return convert(
    by,
    from,
    to,
    Uint16Array.from({ length: count }, (_, i) => (i * 40503) & 0x47ff),
  );
}

Reflect.set(globalThis, 'floatsPage', { everyValue, manyValues });
