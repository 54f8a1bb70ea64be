/**
 * @file What it costs to apply, change and remove a LoRA on a UNet with layers of Stable Diffusion 1.5's sizes, against loading the UNet. Bytes and counts
 * hold anywhere. Times are of a software adapter, where the GPU's arithmetic runs on the CPU.
 */
import { pathToFileURL } from 'node:url';
import { watchHeap } from './heap.js';
import type { Bench, Step } from './lora-page.js';
import { openUNetBench, SMALL_UNET, type UNetBench } from './unet-bench.js';

type Method = Exclude<keyof Bench, 'dispose'>;

/** The most that JavaScript held while something ran, garbage that was not collected yet included. */
interface Measured {
  readonly step: Step;
  readonly heapBytes: number;
}

export async function benchLora(): Promise<readonly string[]> {
  const bench = await openUNetBench('/bench/lora-page.ts', 'openLoraBench', SMALL_UNET);
  try {
    const measure = (method: Method, ...args: readonly unknown[]): Promise<Measured> =>
      measureStep(bench, method, args);

    const load = await measure('load', 8);
    const linear = [
      await measure('adapt', 'linear', 1),
      await measure('adapt', 'linear', 0.5),
      await measure('adapt', 'none', 0),
      await measure('load', 16),
    ];
    const kernels = [
      await measure('adapt', 'kernels', 1),
      await measure('reload'),
      await measure('adapt', 'kernels', 0.5),
      await measure('adapt', 'none', 0),
    ];
    const counts = await bench.call<ReturnType<Bench['counts']>>('counts' satisfies Method);
    await bench.call('dispose' satisfies keyof Bench);
    const group = (name: 'all' | 'linear' | 'kernels'): string =>
      `${counts[name].weights} weights of ${megabytes(counts[name].bytes)}`;
    return [
      `UNet: ${group('all')}, float32. LoRA of rank 16 on attention and feed-forward: ${group('linear')}; on convolutions of the way down: ${group('kernels')}.`,
      '| step | returned after | GPU done after | of loading | read of the base | sent to the GPU | of loading | GPU after | JS heap, most |',
      '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
      ...[load, ...linear, ...kernels].map((measured) => row(measured, load)),
    ];
  } finally {
    await bench.close();
  }
}

async function measureStep(bench: UNetBench, method: Method, args: readonly unknown[]): Promise<Measured> {
  const { result, heapBytes } = await watchHeap(bench.heap, () => bench.call<Step>(method, ...args));
  return { step: result, heapBytes };
}

function row({ step, heapBytes }: Measured, { step: load }: Measured): string {
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  const cells = [
    step.name,
    `${(step.ms / 1000).toFixed(2)} s`,
    `${(step.gpuMs / 1000).toFixed(2)} s`,
    percent(step.gpuMs, load.gpuMs),
    megabytes(step.fileBytes),
    megabytes(step.uploadedBytes),
    percent(step.uploadedBytes, load.uploadedBytes),
    megabytes(step.gpuBytes),
    megabytes(heapBytes),
  ];
  return `| ${cells.join(' | ')} |`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchLora()).join('\n'));
