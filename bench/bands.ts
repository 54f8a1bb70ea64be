/**
 * @file What a published decoder takes of the GPU's memory in one piece and in bands, as predicted (src/pipeline/banded-memory.ts); no GPU is
 * used. `npx tsx bench/bands.ts` prints the table of docs/memory.md.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { vaeDecoderGraph } from '../src/graphs/autoencoder-kl.js';
import { parseAutoencoderKLConfig } from '../src/models/configs/autoencoder-kl.js';
import { EMPTY_POOL, runOnPool } from '../src/onnx/buffer-pool.js';
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { peakLiveBytes, valueBytes } from '../src/onnx/liveness.js';
import type { Graph } from '../src/onnx/types.js';
import { bandedGraphs } from '../src/pipeline/banded-decoder.js';
import { predictBands } from '../src/pipeline/banded-memory.js';
import { planBands } from '../src/pipeline/banded-plan.js';

const published: unknown = JSON.parse(
  readFileSync(join(import.meta.dirname, '../test/golden/published/sdxl-vae.json'), 'utf8'),
);
const config = parseAutoencoderKLConfig(Reflect.get(Object(published) as object, 'config')); // each file is { config, … }
const options = { dialect: webgpuDialect, dtype: 'float32' } as const;

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** The most that a convolution reads. */
const largest = (graphs: readonly Graph[]): number =>
  graphs
    .flatMap(({ nodes }) => nodes)
    .reduce((most, { opType, inputs: [x] }) => (opType === 'Conv' && x ? Math.max(most, valueBytes(x)) : most), 0);

function rows(side: number): readonly string[] {
  const size = { height: side / 8, width: side / 8 };
  const whole = vaeDecoderGraph(config, { batch: 1, ...size }, options);
  const once = runOnPool(EMPTY_POOL, whole);
  const pool = runOnPool(once.pool, whole).pool.bytes;
  const weights = whole.weights.reduce((sum, { value }) => sum + valueBytes(value), 0);
  const line = (...cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => (typeof cell === 'number' ? gigabytes(cell) : cell)).join(' | ')} |`;
  const inBands = (most?: number): readonly string[] => {
    const plan = planBands(config, size, most);
    if (plan === undefined) return [];
    const shape = { config, width: size.width, plan };
    const memory = predictBands(shape, webgpuDialect);
    const conv = largest(bandedGraphs(shape, webgpuDialect));
    const count = `${plan.heights.length} bands of ${8 * Math.max(...plan.heights)} rows`;
    return [line(`${side}²`, count, memory.bands, memory.pool, memory.peak, conv)];
  };
  return [
    line(`${side}²`, 'one piece', peakLiveBytes(whole), pool, pool + weights, largest([whole])),
    ...inBands(),
    ...inBands(1),
  ];
}

export function benchBands(): readonly string[] {
  return [
    '| picture | how | most alive at once | pool | peak, weights included | largest Conv input |',
    '|---|---|---:|---:|---:|---:|',
    ...[512, 1024, 1536, 2048].flatMap(rows),
  ];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log(benchBands().join('\n'));
