/** @file The WebAssembly kernel: the bits of doubles added up in order and rounded once, also of odd values and lengths; and where there is none. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { addRange, BLOCK, type AddRange, type Scaled } from '../../../src/sampling/combine-loops.js';
import { SCHEDULER_NAMES } from '../../../src/request/scheduler-names.js';
import { computeInto, type Latent } from '../../../src/sampling/latent.js';
import { createGenerator } from '../../../src/sampling/noise.js';
import { sample } from '../../../src/sampling/sample.js';
import { SCHEDULERS } from '../../../src/sampling/registry.js';
import { createSampler } from '../../../src/sampling/sampler.js';
import { createSumKernel } from '../../../src/sampling/sum-kernel.js';
import { names } from './golden-cases.js';

const FACTORS = [0.3, -1.7, 2.25, 0.011, -0.5, 1, 4, -1e-3, 7];
/** Values that sums of doubles, their rounding or vectors could treat in another way: zeros, subnormals, ties, overflow. */
const ODD = [0, -0, 1e-45, -1e-45, 1.17e-38, -5e-39, 3.4e38, -3.4e38, 1 + 2 ** -23, Infinity, -Infinity, NaN];

const kernel = createSumKernel();

const random = (count: number, n: number): Scaled[] => {
  const generator = createGenerator(BigInt(1000 * count + n));
  return FACTORS.slice(0, count).map((factor) => [factor, generator.randn(n)] as const);
};

/** Every combination of two odd values, in arrays that differ. */
const odd = (count: number, factors: readonly number[]): Scaled[] =>
  factors
    .slice(0, count)
    .map((factor, j) => [factor, Float32Array.from({ length: 144 }, (_, i) => ODD[Math.floor(i / 12 ** (j % 2)) % 12] ?? 0)] as const); // prettier-ignore

/** What is to come out, by the definition. */
const byDefinition = (terms: readonly Scaled[]): Float32Array =>
  Float32Array.from({ length: terms[0]?.[1].length ?? 0 }, (_, i) =>
    terms.map(([factor, array]) => factor * (array[i] ?? 0)).reduce((total, product) => total + product),
  );

/** Places at which two arrays differ; unlike `===`, 0 is not −0 here, and NaN is NaN. */
const differing = (a: Latent, b: Latent): readonly number[] =>
  Array.from(a.keys()).filter((i) => !Object.is(a[i], b[i]) || a.length !== b.length);

function check(terms: readonly Scaled[]): void {
  const n = terms[0]?.[1].length ?? 0;
  const [ours, loops] = [new Float32Array(n).fill(9), new Float32Array(n).fill(9)];
  const finite = computeInto(ours, terms, kernel);
  expect(computeInto(loops, terms)).toBe(finite);
  const expected = byDefinition(terms);
  expect(finite).toBe(expected.every(Number.isFinite));
  expect(differing(ours, expected)).toEqual([]);
  expect(differing(loops, expected)).toEqual([]);
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('createSumKernel', () => {
  it('is WebAssembly here', () => {
    expect(kernel).not.toBe(addRange);
  });

  const lengths = [1, 2, 3, 7, 8, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK + 5];
  it.each(FACTORS.map((_, j) => j + 1))('adds up %i arrays of any length', (count) => {
    for (const n of lengths) check(random(count, n));
  });

  it.each(FACTORS.map((_, j) => j + 1))('adds up %i arrays of zeros, subnormals, infinities and NaN', (count) => {
    check(odd(count, FACTORS));
    check(odd(count, [1, -1, 1, -1, 0.5, 0.5, -0.5, 2, 1]));
    check(odd(count, [1e-40, 1e40, -0, 1e300, 1e-300, 1e308, -1e308, 1, 1]));
  });

  it('rounds to nearest, ties to even, once', () => {
    // 1 + 2^-24 lies half way between two floats; the smallest double more is rounded up.
    const ones = Float32Array.of(1, 1, 1 + 2 ** -23, 1);
    const small = Float32Array.of(1, 1, 1, 0);
    check([[1, ones], [2 ** -24, small]]); // prettier-ignore
    check([[1, ones], [2 ** -24 + 2 ** -52, small]]); // prettier-ignore
  });

  it('writes over one of its own arrays, and over nothing else', () => {
    for (const j of [0, 1, 4]) {
      const terms = random(5, BLOCK + 3);
      const expected = byDefinition(terms);
      const before = terms.map(([, array]) => array.slice());
      const [, out = new Float32Array()] = terms[j] ?? [];
      computeInto(out, terms, kernel);
      expect(differing(out, expected)).toEqual([]);
      terms.forEach(([, array], i) => {
        if (i !== j) expect(differing(array, before[i] ?? out)).toEqual([]);
      });
    }
  });

  it('computes its range alone, in part of a buffer too', () => {
    const whole = createGenerator(5n).randn(40);
    const out = new Float32Array(60).fill(9).subarray(11, 31);
    const terms = [[0.7, whole.subarray(3, 23)], [-2, whole.subarray(20, 40)]] as const; // prettier-ignore
    kernel(out, 5, 12, terms);
    expect([...out.subarray(5, 12)]).toEqual([...byDefinition(terms).subarray(5, 12)]);
    expect(new Set([...new Float32Array(out.buffer, 0, 16), ...new Float32Array(out.buffer, 4 * 23)])).toEqual(
      new Set([9]),
    );
  });

  it('tells the sum of the magnitudes', () => {
    const terms = [[2, Float32Array.of(1, -2, 3, -4, 5)]] as const;
    expect(kernel(new Float32Array(5), 0, 5, terms)).toBe(30);
  });

  it('leaves float64 in float64', () => {
    const x = Float64Array.of(0.1, 0.2, 0.3);
    const out = new Float64Array(3);
    computeInto(out, [[3, x]], kernel);
    expect([...out]).toEqual([3 * 0.1, 3 * 0.2, 3 * 0.3]);
    const mixed = new Float32Array(3);
    computeInto(mixed, [[1, x], [-1, Float32Array.from(x)]], kernel); // prettier-ignore
    expect([...mixed]).toEqual([...x].map((v) => Math.fround(v - Math.fround(v))));
  });

  it('is small enough to be compiled at once on any thread (4 KB)', () => {
    const sizes: number[] = [];
    class Measured extends WebAssembly.Module {
      constructor(bytes: BufferSource) {
        super(bytes);
        sizes.push(bytes.byteLength);
      }
    }
    vi.stubGlobal('WebAssembly', { ...own(), Module: Measured });
    createSumKernel();
    expect(sizes).toHaveLength(1);
    expect(sizes[0]).toBeLessThan(4096);
  });
});

/** What the code asks of WebAssembly, to be stubbed in part. */
const own = () => ({
  validate: WebAssembly.validate.bind(WebAssembly),
  Module: WebAssembly.Module,
  Instance: WebAssembly.Instance,
});

class Forbidden {
  constructor() {
    throw new WebAssembly.CompileError('blocked by the policy');
  }
}

describe('without WebAssembly', () => {
  const absent: readonly (readonly [string, () => unknown])[] = [
    ['there is none', () => undefined],
    ['it has no vectors', () => ({ ...own(), validate: () => false })],
    ["the page's policy forbids it", () => ({ ...own(), Module: Forbidden })],
    ['there is no memory for it', () => ({ ...own(), Instance: Forbidden })],
  ];
  it.each(absent)('(%s) the sums are the loops’', (_, stub) => {
    const { CompileError } = WebAssembly;
    const stubbed = stub();
    vi.stubGlobal('WebAssembly', stubbed === undefined ? undefined : { CompileError, ...stubbed });
    const made: AddRange = createSumKernel();
    expect(made).toBe(addRange);
  });
});

/** The end of a run of every scheduler that samples the model; the network is a function of latent and timestep. */
async function finalLatents(): Promise<ReadonlyMap<string, Float32Array>> {
  const ends = new Map<string, Float32Array>();
  for (const name of SCHEDULER_NAMES.filter((name) => name !== 'Default' && SCHEDULERS[name].diffusion !== undefined)) {
    const generator = createGenerator(11n);
    const { latents } = await sample(createSampler({ name, config: names.bases['sd15']?.config ?? {}, steps: 6 }), {
      latents: generator.randn(67),
      generator,
      predict: (x, timestep) => Promise.resolve(x.map((v) => Math.sin(3 * v + timestep))),
    });
    ends.set(name, latents);
  }
  return ends;
}

it('leaves every scheduler the bits that it has without WebAssembly', async () => {
  const ours = await finalLatents();
  vi.stubGlobal('WebAssembly', undefined);
  const loops = await finalLatents();
  expect(ours.size).toBeGreaterThan(50);
  for (const [name, latents] of ours)
    expect(differing(latents, loops.get(name) ?? latents.map(() => NaN)), name).toEqual([]);
});
