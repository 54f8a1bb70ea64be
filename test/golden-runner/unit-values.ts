/** @file Unit goldens of pure functions: float conversions, GGUF's block formats, rotary tables and sinusoids. */
import { sha256Hex } from './hash.js';
import { openGoldenWeights, readGoldenJson, readRaw, readTensors, type GoldenFolder } from './files.js';
import { compare, type Comparison } from './report.js';
import { float8ToFloat16, float8ToFloat32 } from '../../src/base/fp8.js';
import { bfloat16ToFloat16, bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from '../../src/base/half.js';
import { rotaryAngles } from '../../src/graphs/rope.js';
import { sinusoid } from '../../src/graphs/sinusoid.js';

const EXACT = { absolute: 0, relative: 0 } as const;

/** Bits, every NaN as the goldens have it. */
const bits32 = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.slice().buffer).map((bits, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : bits));
const bits16 = (halves: Uint16Array): Uint16Array => halves.map((bits) => ((bits & 0x7fff) > 0x7c00 ? 0x7e00 : bits));

interface Conversions {
  readonly sha256: Readonly<Record<string, string>>;
  readonly tables: Readonly<Record<string, readonly number[]>>;
}

/** All inputs of 8 and 16 bits, and samples of float32. What is not used here (to bfloat16) is left out. */
export async function compareConversions(folder: GoldenFolder, path: string): Promise<readonly Comparison[]> {
  const { sha256, tables } = (await readGoldenJson(folder, `${path}/case.json`)) as Conversions;
  const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const whole = {
    'bf16->f32': bits32(bfloat16ToFloat32(every)),
    'bf16->f16': bits16(bfloat16ToFloat16(every)),
    'f16->f32': bits32(float16ToFloat32(every)),
  };
  const hashes = await Promise.all(
    Object.entries(whole).map(async ([name, values]) => compareHash(name, await sha256Hex(values), sha256[name])),
  );
  const small = (
    [
      ['f8_e4m3fn', 'F8_E4M3'],
      ['f8_e5m2', 'F8_E5M2'],
    ] as const
  ).flatMap(([name, type]) => [
    compare(`${name}->f32`, bits32(float8ToFloat32(bytes, type)), tables[`${name}->f32`] ?? [], EXACT),
    compare(`${name}->f16`, bits16(float8ToFloat16(bytes, type)), tables[`${name}->f16`] ?? [], EXACT),
  ]);
  const samples = await readRaw(folder, `${path}/tensors.safetensors`);
  const input = new Float32Array(samples('input_bits').slice().buffer);
  const expected = new Uint16Array(samples('f16_bits').slice().buffer);
  return [...hashes, ...small, compare('f32->f16', bits16(float32ToFloat16(input)), expected, EXACT)];
}

/** Hashes are equal or not. */
export function compareHash(name: string, got: string, expected: string | undefined): Comparison {
  return { name, worst: got === expected ? 0 : Infinity, allowed: 0 };
}

/** One tensor of each type, bit for bit. */
export async function compareGguf(folder: GoldenFolder, path: string): Promise<readonly Comparison[]> {
  const { types } = (await readGoldenJson(folder, `${path}/case.json`)) as { readonly types: object };
  const expected = await readRaw(folder, `${path}/tensors.safetensors`);
  const weights = await openGoldenWeights(folder, `${path}/all-types.gguf`);
  return Promise.all(
    Object.keys(types).map(async (type) => {
      const name = `tensor.${type}.weight`;
      return compare(
        type,
        bits32(await weights.read(name, 'float32')),
        new Uint32Array(expected(name).slice().buffer),
        EXACT,
      );
    }),
  );
}

/** Rotary tables of FLUX.1, whose pairs hold the same angle twice, and sinusoids. */
export async function compareTables(folder: GoldenFolder, path: string): Promise<readonly Comparison[]> {
  const { fluxAxes } = (await readGoldenJson(folder, `${path}/case.json`)) as {
    readonly fluxAxes: readonly [number, number, number];
  };
  const golden = await readTensors(folder, `${path}/tensors.safetensors`);
  const get = (name: string): Float64Array => golden.get(name) ?? new Float64Array();
  const flat = get('positions');
  const positions = Array.from({ length: flat.length / 3 }, (_, i) => [...flat.subarray(3 * i, 3 * i + 3)]);
  const { cos, sin } = rotaryAngles(positions, fluxAxes);
  const once = (name: string): Float64Array => get(name).filter((_, i) => i % 2 === 0);
  const waves = [...get('times')].map((time, i) => {
    // the library's frequencies are float32, whose last bit is worth 4e-8 of the angle
    const tolerance = { absolute: 1e-7 + 4e-8 * time, relative: 0 };
    return compare(
      `sinusoid of ${time}`,
      sinusoid(time, 256),
      get('sinusoid').subarray(256 * i, 256 * (i + 1)),
      tolerance,
    );
  });
  // the last bit of a cosine differs by platform
  const tolerance = { absolute: 1e-6, relative: 0 };
  return [
    compare('flux cos', cos, once('flux_cos'), tolerance),
    compare('flux sin', sin, once('flux_sin'), tolerance),
    ...waves,
  ];
}
