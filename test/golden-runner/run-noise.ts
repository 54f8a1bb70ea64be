/** @file The goldens of seeded noise: single draws, draws in a row, batches and the raw words; to the bit, but for float64. */
import { createMt19937 } from '../../src/sampling/mt19937.js';
import { createGenerator, type Generator } from '../../src/sampling/noise.js';
import { readGoldenJson, readTensors, type GoldenFolder } from './files.js';
import { compare, outcomeOf, type Comparison, type Outcome } from './report.js';

const EXACT = { absolute: 0, relative: 0 } as const;
/** torch's compiled double-precision log, sine and cosine differ from the engine's in the last bits. */
const FLOAT64 = { absolute: 1e-14, relative: 0 } as const;

interface Draw {
  readonly seed: string;
  readonly dtype: 'f32' | 'f64' | 'f16' | 'bf16';
  readonly n: number;
  readonly sha256: string;
  /** Name of the tensor with its values; draws that are too long to keep have none. */
  readonly values?: string;
}

/** One step of a sequence. Uniforms and integers are in it too, which no picture needs. */
type Operation = Partial<Draw> & { readonly op: string };

interface NoiseBook {
  readonly randn: readonly Draw[];
  readonly sequences: readonly { readonly id: string; readonly seed: string; readonly steps: readonly Operation[] }[];
  readonly mt19937: readonly {
    readonly seed: string;
    readonly first: string;
    readonly around624: string;
    readonly around1248: string;
  }[];
  readonly batches: readonly {
    readonly shape: readonly number[];
    readonly seeds: readonly string[];
    readonly listOfGenerators: string;
    readonly listOfGeneratorsSecondCall: string;
    readonly oneGenerator: string;
  }[];
  readonly fluxPacking: readonly {
    readonly width: number;
    readonly height: number;
    readonly seed: string;
    readonly latents: string;
  }[];
}

type Tensors = ReadonlyMap<string, Float64Array>;

/** Every draw of `noise.json` and its safetensors file. */
export async function runNoise(folder: GoldenFolder): Promise<Outcome> {
  const start = performance.now();
  const book = (await readGoldenJson(folder, 'noise/noise.json')) as NoiseBook; // our own test data
  const tensors = await readTensors(folder, 'noise/noise.safetensors');
  const comparisons: Comparison[] = wordsOf(book, tensors);
  for (const draw of book.randn)
    comparisons.push(await compareDraw('', createGenerator(BigInt(draw.seed)), draw, tensors));
  for (const sequence of book.sequences) comparisons.push(...(await compareSequence(sequence, tensors)));
  comparisons.push(...batchesOf(book, tensors), ...packingOf(book, tensors));
  return outcomeOf('noise', 'noise.json', comparisons, start);
}

const stored = (tensors: Tensors, name: string | undefined): Float64Array =>
  tensors.get(name ?? '') ?? new Float64Array();

/** float64 by its values, everything else by the SHA-256 of its bytes. */
async function compareDraw(
  where: string,
  generator: Generator,
  { seed, dtype, n, sha256, values }: Draw,
  tensors: Tensors,
): Promise<Comparison> {
  const name = `${where}randn(${n}) ${dtype} seed ${seed}`;
  if (dtype === 'f64') return compare(name, generator.randnFloat64(n), stored(tensors, values), FLOAT64);
  const drawn = dtype === 'f32' ? generator.randn(n) : generator.randnHalf(n, dtype === 'f16' ? 'float16' : 'bfloat16');
  return compare(name, [(await sha256Hex(drawn)) === sha256 ? 0 : 1], [0], EXACT);
}

async function sha256Hex(values: Float32Array | Uint16Array): Promise<string> {
  const bytes = new Uint8Array(values.byteLength);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  const hash = await crypto.subtle.digest('SHA-256', bytes);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Draws of one generator in a row. A sequence is followed up to its first draw that no picture makes (uniforms, integers). */
async function compareSequence(
  { id, seed, steps }: NoiseBook['sequences'][number],
  tensors: Tensors,
): Promise<readonly Comparison[]> {
  let generator = createGenerator(BigInt(seed));
  const out: Comparison[] = [];
  for (const [i, { op, ...draw }] of steps.entries()) {
    if (op === 'reseed') generator = createGenerator(BigInt(draw.seed ?? seed));
    else if (op !== 'randn') break;
    else out.push(await compareDraw(`${id} draw ${i}: `, generator, { ...blank, seed, ...draw }, tensors));
  }
  return out;
}

const blank = { dtype: 'f32', n: 0, sha256: '' } as const;

function wordsOf({ mt19937 }: NoiseBook, tensors: Tensors): Comparison[] {
  return mt19937.flatMap(({ seed, first, around624, around1248 }) => {
    const next = createMt19937(Number(BigInt.asUintN(32, BigInt(seed))));
    const words = Float64Array.from({ length: 1252 }, next);
    return [
      compare(`words 0–15 of seed ${seed}`, words.subarray(0, 16), stored(tensors, first), EXACT),
      compare(`words 620–627 of seed ${seed}`, words.subarray(620, 628), stored(tensors, around624), EXACT),
      compare(`words 1244–1251 of seed ${seed}`, words.subarray(1244, 1252), stored(tensors, around1248), EXACT),
    ];
  });
}

/** A list of generators gives each picture its own stream; one generator draws the whole batch in one go. */
function batchesOf({ batches }: NoiseBook, tensors: Tensors): readonly Comparison[] {
  return batches.flatMap(({ shape, seeds, listOfGenerators, listOfGeneratorsSecondCall, oneGenerator }) => {
    const size = shape.slice(1).reduce((a, b) => a * b, 1);
    const generators = seeds.map((seed) => createGenerator(BigInt(seed)));
    const drawn = (): number[] => generators.flatMap((generator) => [...generator.randn(size)]);
    const whole = createGenerator(BigInt(seeds[0] ?? '')).randn(size * seeds.length);
    const what = `batch ${shape.join('×')}`;
    return [
      compare(`${what}, a generator each`, drawn(), stored(tensors, listOfGenerators), EXACT),
      compare(`${what}, again`, drawn(), stored(tensors, listOfGeneratorsSecondCall), EXACT),
      compare(`${what}, one generator`, whole, stored(tensors, oneGenerator), EXACT),
    ];
  });
}

/** FLUX's latents, (1, 16, H/8, W/8) with H/8 and W/8 even, before they are packed. */
function packingOf({ fluxPacking }: NoiseBook, tensors: Tensors): readonly Comparison[] {
  return fluxPacking.map(({ width, height, seed, latents }) => {
    const n = 16 * 2 * Math.floor(height / 16) * 2 * Math.floor(width / 16);
    const what = `FLUX latents of ${width}×${height}, seed ${seed}`;
    return compare(what, createGenerator(BigInt(seed)).randn(n), stored(tensors, latents), EXACT);
  });
}
