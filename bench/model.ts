/**
 * @file The bundled model in headless Chromium on both backends: load, seconds per step, time outside `session.run`, dispatches, memory.
 * On a machine without a GPU the WebGPU figures are those of a software adapter: its counts and ratios hold, its seconds mean nothing.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BUNDLED_MODEL } from '../scripts/lib/node-engine.js';
import { openServedPage, type ServedPage } from '../scripts/lib/served-page.js';
import type { BenchResult, Harness } from '../scripts/page/harness.js';
import { writeMicroModel } from '../test/micro-model.js';

/**
 * Dispatches of one step of the bundled model's UNet as torch exports it (torch 2.15, diffusers 0.42.1, opset 17 TorchScript exporter,
 * batch 2) when ONNX Runtime optimises it itself (`graphOptimizationLevel: 'all'`), counted in the same way.
 */
const EXPORT_DISPATCHES = 596;

type Request = Parameters<Harness['bench']>[2];

export async function benchModel(): Promise<readonly string[]> {
  const micro = await mkdtemp(join(tmpdir(), 'darkroom-bench-'));
  await writeMicroModel(micro);
  const served = await openServedPage({ tinyworld: BUNDLED_MODEL, micro });
  try {
    const wasm = await run(served, 'tinyworld', 'wasm', { steps: 20, width: 128, height: 128 });
    const webgpu = await run(served, 'tinyworld', 'webgpu', { steps: 4, width: 128, height: 128 });
    const large = await run(served, 'micro', 'wasm', { steps: 4, width: 512, height: 512 });
    return [...report('wasm', wasm), ...report('webgpu', webgpu), dispatchLine(webgpu), outsideLine(large)];
  } finally {
    await served.close();
    await rm(micro, { recursive: true });
  }
}

function run({ page }: ServedPage, model: string, backend: 'wasm' | 'webgpu', request: Request): Promise<BenchResult> {
  return page.evaluate(([m, b, r]) => (Reflect.get(globalThis, 'harness') as Harness).bench(m, b, r), [
    model,
    backend,
    request,
  ] as const);
}

function report(backend: string, r: BenchResult): readonly string[] {
  const { adapter, build, dtype } = r.info;
  const outside = (r.denoiseMs - r.insideMs) / r.denoiseMs;
  const device = adapter === undefined ? 'CPU' : `${adapter.vendor} ${adapter.architecture}`;
  return [
    `${backend} (${build}, ${dtype}, ${device}), 128×128, ${r.steps} steps, CFG`,
    `  start ${seconds(r.startMs)}, load ${seconds(r.loadMs)}, first picture ${seconds(r.firstPictureMs)}, next picture ${seconds(r.secondPictureMs)}`,
    `  ${seconds(r.denoiseMs / r.steps)} per step, ${(100 * outside).toFixed(2)} % of it outside session.run`,
    `  peak JS heap ${megabytes(r.peakHeapBytes)}, GPU ${megabytes(r.memory.gpuBytes)} in ${r.memory.gpuBuffers} buffers, peak ${megabytes(r.peakGpuBytes)}`,
  ];
}

function dispatchLine(r: BenchResult): string {
  return `dispatches per UNet step: ${r.dispatchesPerStep}, ${(r.dispatchesPerStep / EXPORT_DISPATCHES).toFixed(2)} × the exported UNet's ${EXPORT_DISPATCHES}`;
}

/** What a step costs besides the network depends on the sizes of latents and text alone, so a tiny network at 512² shows it. */
function outsideLine(r: BenchResult): string {
  const ms = (r.denoiseMs - r.insideMs) / r.steps;
  return `outside session.run at 512² (latents 64×64×4, CFG): ${ms.toFixed(1)} ms per step; at most 2 % of any step of ${((50 * ms) / 1000).toFixed(2)} s or more`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
