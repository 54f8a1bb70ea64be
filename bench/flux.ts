/**
 * @file `npm run bench -- flux [--tokens N] [--backend wasm|webgpu]`: FLUX.1's double and single block at their real size with made-up weights. Dispatches,
 * arithmetic and bytes come from the graphs and hold anywhere; a block is timed on fewer tokens, and seconds per step follow from
 * its arithmetic. Then blocks whose weights are brought while others run, against what is predicted, and what steps are predicted to take where so many bytes
 * are there. Then what four bits cost a matrix. Without --backend: WebGPU where Chromium has a real adapter, else the CPU build.
 */
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { wasmDialect } from '../src/onnx/dialects/wasm.js';
import { loadOrtInNode } from '../src/runtime/ort-node.js';
import { createRuntime } from '../src/runtime/runtime.js';
import { openServedPage } from '../scripts/lib/served-page.js';
import type { FluxShape } from '../src/graphs/flux.js';
import { chooseResidents, stepBlocks, type BlockSizes } from '../src/pipeline/flux/memory.js';
import { broughtBytes, predictStep } from '../src/pipeline/flux/step-time.js';
import type { Rates } from '../src/pipeline/pace.js';
import {
  blockCost,
  blockGraph,
  COUNTS,
  KINDS,
  timeBlock,
  timeStreaming,
  type BlockForm,
  type BlockTime,
  type Kind,
  type StreamTime,
  type Weights,
} from './flux-blocks.js';
import type { FluxBench, openFluxBench } from './flux-page.js';
import { int4Errors } from './int4-error.js';
import { loraErrors } from './lora-error.js';

export interface FluxBenchOptions {
  /** Image tokens, and as many of text, that a block is timed with. */
  readonly tokens?: string | undefined;
  readonly backend?: string | undefined;
}

/** Times blocks somewhere. */
interface Timer {
  readonly name: string;
  readonly dtype: 'float16' | 'float32';
  readonly tokens: number;
  time(form: Omit<BlockForm, 'dialect'>): Promise<BlockTime>;
  timeStreaming(form: Omit<BlockForm, 'dialect'>, count: number): Promise<StreamTime>;
  dispose(): Promise<void>;
}

/** dev reads 512 text tokens. */
const SIZES: Readonly<Record<string, FluxShape>> = {
  '512²': { textTokens: 512, imageTokens: 1024 },
  '1024²': { textTokens: 512, imageTokens: 4096 },
};
const WEIGHTS = ['int4', 'float16', 'float32'] as const satisfies readonly Weights[];

export async function benchFlux(options: FluxBenchOptions = {}): Promise<readonly string[]> {
  const timer = await openTimer(options);
  try {
    return [
      ...costLines(),
      '',
      ...memoryLines(),
      '',
      ...(await timeLines(timer)),
      '',
      ...(await streamLines(timer)),
      '',
      ...int4Errors(),
      '',
      ...loraErrors(),
    ];
  } finally {
    await timer.dispose();
  }
}

const form = (kind: Kind, weights: Weights, shape: FluxShape): BlockForm => ({
  kind,
  weights,
  shape,
  dtype: weights === 'float32' ? 'float32' : 'float16',
  dialect: webgpuDialect,
});

function costLines(): readonly string[] {
  const lines = ['block, size              weights   dispatches   TFLOP   MB of weights   MB while it runs'];
  for (const [size, shape] of Object.entries(SIZES)) {
    for (const kind of KINDS) {
      for (const weights of WEIGHTS) {
        const { dispatches, flops, weightBytes, runBytes } = blockCost(blockGraph(form(kind, weights, shape)));
        lines.push(
          `${`${kind}, ${size}`.padEnd(24)} ${weights.padEnd(9)} ${String(dispatches).padStart(10)} ${(flops / 1e12).toFixed(3).padStart(7)} ${mega(weightBytes).padStart(15)} ${mega(runBytes).padStart(18)}`,
        );
      }
    }
  }
  return lines;
}

/** Of the blocks alone; what comes before and after them is small. */
function memoryLines(): readonly string[] {
  const lines = ['GB on the device          weights    all blocks resident   streamed, two at a time'];
  for (const [size, shape] of Object.entries(SIZES)) {
    for (const weights of WEIGHTS) {
      const costs = KINDS.map((kind) => ({ kind, ...blockCost(blockGraph(form(kind, weights, shape))) }));
      const run = Math.max(...costs.map(({ runBytes }) => runBytes));
      const all = costs.reduce((sum, { kind, weightBytes }) => sum + COUNTS[kind] * weightBytes, 0);
      const two = 2 * costs.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
      lines.push(
        `${size.padEnd(25)} ${weights.padEnd(9)} ${giga(all + run).padStart(20)} ${giga(two + run).padStart(25)}`,
      );
    }
  }
  return lines;
}

async function timeLines(timer: Timer): Promise<readonly string[]> {
  const { name, tokens, dtype } = timer;
  const shape: FluxShape = { textTokens: tokens, imageTokens: tokens };
  const lines = [
    `Timed on ${name}, ${tokens} text and ${tokens} image tokens, ${dtype}. Seconds of a step of 19 + 38 blocks follow from the arithmetic: on a device that`,
    'is quicker with more rows, as GPUs are, they are less.',
    'block    weights    s to load   s to run   GFLOP/s',
  ];
  for (const weights of ['int4', dtype] as const) {
    const rates = new Map<Kind, number>();
    for (const kind of KINDS) {
      try {
        const { ms, loadMs } = await timer.time({ kind, weights, shape, dtype });
        const { flops } = blockCost(blockGraph(form(kind, weights, shape)));
        rates.set(kind, flops / ms);
        lines.push(
          `${kind.padEnd(8)} ${weights.padEnd(9)} ${seconds(loadMs).padStart(10)} ${seconds(ms).padStart(10)} ${(flops / ms / 1e6).toFixed(1).padStart(9)}`,
        );
      } catch (error) {
        lines.push(`${kind.padEnd(8)} ${weights.padEnd(9)} not timed: ${String(error)}`);
      }
    }
    for (const [size, large] of Object.entries(SIZES)) {
      const step = KINDS.reduce((sum, kind) => {
        const { flops } = blockCost(blockGraph(form(kind, weights, large)));
        return sum + (COUNTS[kind] * flops) / (rates.get(kind) ?? NaN);
      }, 0);
      if (Number.isFinite(step)) lines.push(`a step at ${size}, ${weights}: ${seconds(step)} s (extrapolated)`);
    }
  }
  return lines;
}

/** Single blocks in a row: the fewest that really take turns, with one more. */
const STREAMED = 4;
/** Bytes on the device that steps are predicted for. */
const ROOMS = [Infinity, 16e9, 12e9, 8e9, 4e9, 0];

async function streamLines(timer: Timer): Promise<readonly string[]> {
  const { name, tokens, dtype } = timer;
  const shape: FluxShape = { textTokens: tokens, imageTokens: tokens };
  const lines = [
    `${STREAMED} single blocks on ${name}, ${tokens} text and ${tokens} image tokens, ${dtype}; weights made up, and rounded to four bits, as they are read.`,
    'weights    s all staying   s none staying   predicted   overhead   GFLOP/s   MB/s brought',
  ];
  const predicted: string[] = [];
  for (const weights of ['int4', dtype] as const) {
    try {
      const timed = await timer.timeStreaming({ kind: 'single', weights, shape, dtype }, STREAMED);
      const { resident, streamed, expected, rates } = timed;
      lines.push(
        `${weights.padEnd(9)} ${seconds(resident).padStart(14)} ${seconds(streamed).padStart(16)} ${seconds(expected ?? NaN).padStart(11)} ${`${(100 * (streamed / resident - 1)).toFixed(0)} %`.padStart(10)} ${((rates.flopsPerSecond ?? NaN) / 1e9).toFixed(1).padStart(9)} ${mega(rates.bytesPerSecond ?? NaN).padStart(14)}`,
      );
      predicted.push(...stepLines(weights, rates));
    } catch (error) {
      lines.push(`${weights.padEnd(9)} not timed: ${String(error)}`);
    }
  }
  return [...lines, 'Predicted steps at these speeds:', STEP_HEAD, ...predicted];
}

const STEP_HEAD =
  'size      weights   GB for blocks   double, single staying   GB brought a step   s a step   s of arithmetic';

/** What a step takes where so many bytes are there for blocks. */
function stepLines(weights: Weights, rates: Rates): readonly string[] {
  return Object.entries(SIZES).flatMap(([size, shape]) => {
    const [double, single] = KINDS.map((kind) => blockCost(blockGraph(form(kind, weights, shape))));
    if (double === undefined || single === undefined) return [];
    const sizes: BlockSizes = {
      doubleBlock: double.weightBytes,
      doubleBrought: double.weightBytes,
      doubleBlocks: COUNTS.double,
      doubleFlops: double.flops,
      singleBlock: single.weightBytes,
      singleBrought: single.weightBytes,
      singleBlocks: COUNTS.single,
      singleFlops: single.flops,
    };
    const all = COUNTS.double * double.weightBytes + COUNTS.single * single.weightBytes;
    return ROOMS.filter((room) => room === Infinity || room < all).map((room) => {
      const stay = chooseResidents(sizes, room, rates);
      const blocks = stepBlocks(sizes, stay);
      const { seconds: step = NaN, computing = NaN } = predictStep(blocks, rates) ?? {};
      return `${size.padEnd(9)} ${weights.padEnd(9)} ${(room === Infinity ? 'enough' : giga(room)).padStart(13)} ${`${stay.double}, ${stay.single}`.padStart(24)} ${giga(broughtBytes(blocks)).padStart(19)} ${seconds(1000 * step).padStart(10)} ${seconds(1000 * computing).padStart(17)}`;
    });
  });
}

async function openTimer({ tokens, backend }: FluxBenchOptions): Promise<Timer> {
  const count = tokens === undefined ? undefined : Number(tokens);
  if (count !== undefined && !(Number.isInteger(count) && count > 0))
    throw new Error(`--tokens ${tokens} is no count.`);
  if (backend === 'wasm') return cpuTimer(count);
  const gpu = await gpuTimer(count);
  if (backend === 'webgpu' || !/swiftshader|llvmpipe|software/i.test(gpu.name)) return gpu;
  await gpu.dispose();
  return cpuTimer(count);
}

async function cpuTimer(tokens = 32): Promise<Timer> {
  const runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  return {
    name: 'the CPU build in Node',
    dtype: 'float32',
    tokens,
    time: (block) => timeBlock(runtime, { ...block, dialect: wasmDialect }, 1),
    timeStreaming: (block, blocks) => timeStreaming(runtime, { ...block, dialect: wasmDialect }, blocks),
    dispose: () => runtime.dispose(),
  };
}

async function gpuTimer(tokens = 512): Promise<Timer> {
  const served = await openServedPage({});
  const { page } = served;
  await page.addScriptTag({ type: 'module', url: '/bench/flux-page.ts' });
  await page.waitForFunction(() => 'openFluxBench' in globalThis);
  const info = await page.evaluate(async () => {
    const bench = await (Reflect.get(globalThis, 'openFluxBench') as typeof openFluxBench)();
    Object.assign(globalThis, { flux: bench });
    return bench.info;
  });
  const { vendor = '', architecture = '', description = '' } = info.adapter ?? {};
  return {
    name: `WebGPU (${[vendor, architecture, description].filter(Boolean).join(', ')})`,
    dtype: info.dtype,
    tokens,
    time: ({ kind, weights, shape, dtype }) =>
      page.evaluate((block) => (Reflect.get(globalThis, 'flux') as FluxBench).time(block, 3), {
        kind,
        weights,
        shape,
        dtype,
      }),
    timeStreaming: ({ kind, weights, shape, dtype }, count) =>
      page.evaluate(([block, blocks]) => (Reflect.get(globalThis, 'flux') as FluxBench).timeStreaming(block, blocks), [
        { kind, weights, shape, dtype },
        count,
      ] as const),
    async dispose() {
      await page.evaluate(() => (Reflect.get(globalThis, 'flux') as FluxBench).dispose());
      await served.close();
    },
  };
}

function mega(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function giga(bytes: number): string {
  return (bytes / 1e9).toFixed(2);
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(ms < 10_000 ? 2 : 0);
}
