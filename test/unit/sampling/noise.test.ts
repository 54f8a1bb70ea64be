/** @file Seeded noise against torch's CPU generator: float32 and half types bit for bit, float64 to its last digits. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createMt19937 } from '../../../src/sampling/mt19937.js';
import { createGenerator, type Generator } from '../../../src/sampling/noise.js';
import { distance } from './golden-cases.js';
import { goldenJson, openGolden } from './safetensors-reader.js';

type DrawType = 'f16' | 'bf16' | 'f32' | 'f64';

interface Draw {
  readonly seed: string;
  readonly dtype: DrawType;
  readonly n: number;
  readonly sha256: string;
  readonly values?: string;
}
interface Operation extends Partial<Draw> {
  readonly op: 'randn' | 'rand' | 'randint' | 'reseed';
}

const book = goldenJson<{
  readonly randn: readonly Draw[];
  readonly sequences: readonly { id: string; seed: string; steps: readonly Operation[] }[];
  readonly mt19937: readonly { seed: string; first: string; around624: string; around1248: string }[];
  readonly batches: readonly {
    shape: readonly number[];
    seeds: readonly string[];
    listOfGenerators: string;
    listOfGeneratorsSecondCall: string;
    oneGenerator: string;
  }[];
  readonly fluxPacking: readonly { width: number; height: number; seed: string; latents: string }[];
}>('noise/noise.json');
const tensors = openGolden('noise/noise.safetensors');

const sha256 = (a: Float32Array | Float64Array | Uint16Array): string =>
  createHash('sha256')
    .update(new Uint8Array(a.buffer, a.byteOffset, a.byteLength))
    .digest('hex');

function draw(generator: Generator, dtype: DrawType, n: number) {
  if (dtype === 'f32') return generator.randn(n);
  if (dtype === 'f64') return generator.randnFloat64(n);
  return generator.randnHalf(n, dtype === 'f16' ? 'float16' : 'bfloat16');
}

/** float64 to 1e-14 (torch's compiled log, sine and cosine differ from the engine's in the last bits); the rest exactly. */
function check(
  drawn: ReturnType<typeof draw>,
  { dtype, sha256: hash, values, n }: Omit<Draw, 'seed'>,
  what: string,
): void {
  expect(drawn.length, what).toBe(n);
  if (!(drawn instanceof Float64Array)) expect(sha256(drawn), `${what} ${dtype}`).toBe(hash);
  else {
    if (values === undefined) throw new Error(`${what}: a float64 golden without its values`);
    expect(distance(drawn, tensors.read(values).values), what).toBeLessThanOrEqual(1e-14);
  }
}

describe('Mersenne Twister', () => {
  it.each(book.mt19937)('seed $seed gives the reference words', ({ seed, first, around624, around1248 }) => {
    const next = createMt19937(Number(BigInt(seed) & 0xffffffffn));
    const words = Float64Array.from({ length: 1300 }, next);
    expect([...words.slice(0, 16)]).toEqual([...tensors.read(first).values]);
    expect([...words.slice(620, 628)]).toEqual([...tensors.read(around624).values]);
    expect([...words.slice(1244, 1252)]).toEqual([...tensors.read(around1248).values]);
  });
});

describe('createGenerator', () => {
  it.each(book.randn)('draws torch.randn($n, $dtype) of seed $seed', (entry) => {
    check(draw(createGenerator(BigInt(entry.seed)), entry.dtype, entry.n), entry, `seed ${entry.seed}`);
  });

  it.each(book.sequences.filter(({ id }) => !id.startsWith('uniforms')))(
    'keeps its place through the draws of $id',
    ({ id, seed, steps }) => {
      let generator = createGenerator(BigInt(seed));
      steps.forEach(({ op, dtype, n, sha256: hash, ...rest }, i) => {
        if (op === 'reseed') generator = createGenerator(BigInt(rest.seed ?? ''));
        else if (op === 'randn' && dtype !== undefined && n !== undefined && hash !== undefined)
          check(draw(generator, dtype, n), { dtype, n, sha256: hash, ...rest }, `${id} draw ${i}`);
        else throw new Error(`${id} has an operation that is not checked: ${op}`);
      });
    },
  );

  it.each(book.batches)('gives each picture of a batch $shape a stream of its own', (batch) => {
    const size = batch.shape.slice(1).reduce((a, b) => a * b, 1);
    const generators = batch.seeds.map((seed) => createGenerator(BigInt(seed)));
    for (const stored of [batch.listOfGenerators, batch.listOfGeneratorsSecondCall]) {
      const drawn = generators.flatMap((generator) => [...generator.randn(size)]);
      expect(drawn).toEqual([...tensors.read(stored).values]);
    }
    const one = createGenerator(BigInt(batch.seeds[0] ?? ''));
    expect([...one.randn(size * generators.length)]).toEqual([...tensors.read(batch.oneGenerator).values]);
  });

  it.each(book.fluxPacking)(
    'draws the latents of a $width×$height FLUX picture',
    ({ width, height, seed, latents }) => {
      const n = 16 * 2 * Math.floor(height / 16) * 2 * Math.floor(width / 16);
      expect([...createGenerator(BigInt(seed)).randn(n)]).toEqual([...tensors.read(latents).values]);
    },
  );

  it('uses the low 32 bits of the seed', () => {
    expect(createGenerator(2n ** 32n + 5n).randn(64)).toEqual(createGenerator(5n).randn(64));
  });

  it('draws nothing for n = 0 and refuses what is no count', () => {
    const generator = createGenerator(1n);
    expect(generator.randn(0)).toHaveLength(0);
    expect(generator.randn(16)).toEqual(createGenerator(1n).randn(16));
    expect(() => generator.randn(-1)).toThrow(/-1 numbers/);
    expect(() => generator.randn(1.5)).toThrow(/1.5 numbers/);
  });
});
