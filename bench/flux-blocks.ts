/**
 * @file FLUX.1's blocks at their real size, with weights made up as they are read: what one costs by its graph, and how long it takes on a runtime.
 * Runs in Node and in a page.
 */
import type { ByteSource } from '../src/assets/source.js';
import type { WeightTensor } from '../src/assets/weight-tensors.js';
import { viewWeights, type WeightFile } from '../src/assets/weights.js';
import { elementCount, type FloatType } from '../src/base/dtype.js';
import { FLUX_IO, fluxDoubleBlockGraph, fluxSingleBlockGraph, type FluxShape } from '../src/graphs/flux.js';
import { parseFluxTransformerConfig, type FluxTransformerConfig } from '../src/models/configs/flux-transformer.js';
import { sameShape } from '../src/models/layouts/layout.js';
import type { Dialect } from '../src/onnx/dialects/dialect.js';
import { flopsOf } from '../src/onnx/cost.js';
import { peakLiveBytes, valueBytes } from '../src/onnx/liveness.js';
import type { Graph, PackedFormat } from '../src/onnx/types.js';
import { predictStep } from '../src/pipeline/flux/step-time.js';
import { createPace, type Rates } from '../src/pipeline/pace.js';
import type { Runtime } from '../src/runtime/runtime.js';
import type { Inputs } from '../src/runtime/session.js';
import { costOf, type Cost } from './cost.js';

export const KINDS = ['double', 'single'] as const;
export type Kind = (typeof KINDS)[number];

/** How the matrices of a block are kept. */
export type Weights = 'int4' | FloatType;

/** FLUX.1 dev: the parser's defaults are the published model's. */
export const CONFIG: FluxTransformerConfig = parseFluxTransformerConfig({ guidance_embeds: true });
export const COUNTS = { double: CONFIG.doubleBlocks, single: CONFIG.singleBlocks } as const satisfies Record<
  Kind,
  number
>;

/** As of Q4_0 files. */
const INT4: PackedFormat = { bits: 4, block: 32, zeros: false };

export interface BlockForm {
  readonly kind: Kind;
  readonly weights: Weights;
  readonly shape: FluxShape;
  /** Of what is not packed. */
  readonly dtype: FloatType;
  readonly dialect: Dialect;
}

/** Its modulation is given, as the pipeline runs it. */
export function blockGraph({ kind, weights, shape, dtype, dialect }: BlockForm): Graph {
  const write = kind === 'double' ? fluxDoubleBlockGraph : fluxSingleBlockGraph;
  const packing = weights === 'int4' ? { packing: () => INT4 } : {};
  return write(CONFIG, shape, { dialect, dtype, modulation: 'given', ...packing });
}

export interface BlockCost extends Cost {
  readonly weightBytes: number;
  /** The most that is alive while it runs, inputs and outputs included. */
  readonly runBytes: number;
}

export function blockCost(graph: Graph): BlockCost {
  const weightBytes = graph.weights.reduce((sum, { value }) => sum + valueBytes(value), 0);
  return { ...costOf(graph), weightBytes, runBytes: peakLiveBytes(graph) };
}

export interface BlockTime {
  /** Milliseconds of a run, the fastest. */
  readonly ms: number;
  /** Of making the session and bringing the weights. */
  readonly loadMs: number;
}

/** How long blocks take one after the other, in ms for all of them. */
export interface StreamTime {
  readonly count: number;
  /** With all weights on the device, and with none that stay. */
  readonly resident: number;
  readonly streamed: number;
  /** What was measured meanwhile, and what a pass with none that stay was then expected to take. */
  readonly rates: Rates;
  readonly expected: number | undefined;
}

/** `count` blocks of a form, twice through with all weights on the device and twice with none that stay, after one pass each that does not count. */
export async function timeStreaming(runtime: Runtime, form: BlockForm, count: number): Promise<StreamTime> {
  const graph = blockGraph(form);
  const prefixes = Array.from({ length: count }, (_, i) => `${i}.`);
  const file = madeUpWeights(blockGraph({ ...form, weights: form.dtype }), prefixes);
  const inputs = madeUpInputs(graph);
  const pace = createPace(() => performance.now());
  const watch = pace.watch('image', flopsOf(graph));
  const pass = async (resident: number): Promise<number> => {
    const bank = runtime.openBank(file);
    const blocks = await bank.loadBlocks(graph, { prefixes, resident, watch });
    try {
      let start = 0;
      for (let i = 0; i < 3 * count; i++) {
        if (i === count) start = performance.now();
        await blocks.run(i % count, inputs);
      }
      return (performance.now() - start) / 2;
    } finally {
      await blocks.dispose();
      bank.dispose();
    }
  };
  const [resident, streamed] = [await pass(count), await pass(0)];
  const rates = pace.rates('image');
  const bytes = blockCost(graph).weightBytes;
  const expected = predictStep([{ count, resident: 0, bytes, flops: flopsOf(graph) }], rates);
  return { count, resident, streamed, rates, expected: expected && 1000 * expected.seconds };
}

/** @throws what the runtime throws, outOfMemory before all */
export async function timeBlock(runtime: Runtime, form: BlockForm, repeat: number): Promise<BlockTime> {
  const graph = blockGraph(form);
  const bank = runtime.openBank(madeUpWeights(blockGraph({ ...form, weights: form.dtype })));
  const start = performance.now();
  const blocks = await bank.loadBlocks(graph, { prefixes: [''] });
  const loadMs = performance.now() - start;
  try {
    const inputs = madeUpInputs(graph);
    let ms = Infinity;
    for (let i = 0; i < repeat; i++) {
      const before = performance.now();
      await blocks.run(0, inputs);
      ms = Math.min(ms, performance.now() - before);
    }
    return { ms, loadMs };
  } finally {
    await blocks.dispose();
    bank.dispose();
  }
}

/** Weights of these names and shapes; nothing of them is in memory before it is read. */
function madeUpWeights({ weights }: Graph, prefixes: readonly string[] = ['']): WeightFile {
  const tensors = new Map(
    weights.flatMap(({ tensors: names, value }) =>
      names
        .flatMap((name) => prefixes.map((prefix) => prefix + name))
        .map((name): readonly [string, WeightTensor] => {
          const end = 2 * elementCount(value.shape);
          return [name, { dtype: 'F16', shape: value.shape, start: 0, end, source: noise(end) }];
        }),
    ),
  );
  return viewWeights('made up', tensors, { places: (name) => [{ name }], shape: sameShape });
}

/** float16 numbers of magnitude 2⁻⁶ to 2⁻⁵ and either sign: products of 3072 of them stay near 1. */
function noise(size: number): ByteSource {
  return {
    name: 'noise',
    size,
    read: (start, end) => {
      const values = new Uint16Array((end - start) / 2);
      let state = (start ^ 0x9e3779b9) | 1;
      for (let i = 0; i < values.length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        values[i] = (state & 0x83ff) | 0x2400;
      }
      return Promise.resolve(new Uint8Array(values.buffer));
    },
  };
}

function madeUpInputs({ inputs }: Graph): Inputs {
  return Object.fromEntries(
    inputs.map(({ name, value }) => [
      name,
      Float32Array.from({ length: elementCount(value.shape) }, (_, i) =>
        name === FLUX_IO.cos ? 1 : name === FLUX_IO.sin ? 0 : Math.sin(1.3 * i),
      ),
    ]),
  );
}
