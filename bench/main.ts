/**
 * @file `npm run bench [-- graphs|sampling|memory|model|load|lora|flux|convert|download]`: what things cost on this machine. Ratios are within one run; times are only
 * of this machine. Without an argument everything runs but `convert` and `download`. `flux` takes `--tokens N` and `--backend wasm|webgpu`, `convert` `--bits 4|8`,
 * `--part 0.1` and `--where browser`, `download` `--gigabytes 4.5`.
 */
import { parseArgs } from 'node:util';
import { benchConvert, type ConvertBenchOptions } from './convert.js';
import { benchDownload, type DownloadBenchOptions } from './download.js';
import { benchFlux, type FluxBenchOptions } from './flux.js';
import { benchGraphs } from './graphs.js';
import { benchLoad } from './load.js';
import { benchLora } from './lora.js';
import { benchMemory } from './memory.js';
import { benchModel } from './model.js';
import { benchSampling } from './sampling.js';

const BENCHES: Readonly<
  Record<string, (options: FluxBenchOptions & ConvertBenchOptions & DownloadBenchOptions) => Promise<readonly string[]>>
> = {
  graphs: benchGraphs,
  sampling: benchSampling,
  memory: benchMemory,
  model: benchModel,
  load: benchLoad,
  lora: benchLora,
  flux: benchFlux,
  convert: benchConvert,
  download: benchDownload,
};

/** Take minutes and gigabytes. */
const ON_REQUEST: ReadonlySet<string> = new Set(['convert', 'download']);

async function main(): Promise<void> {
  const { positionals: wanted, values: options } = parseArgs({
    allowPositionals: true,
    options: {
      tokens: { type: 'string' },
      backend: { type: 'string' },
      bits: { type: 'string' },
      part: { type: 'string' },
      where: { type: 'string' },
      gigabytes: { type: 'string' },
    },
  });
  const unknown = wanted.filter((name) => !(name in BENCHES));
  if (unknown.length > 0)
    throw new Error(`No bench is called ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}.`);
  for (const [name, run] of Object.entries(BENCHES)) {
    if (wanted.length > 0 ? !wanted.includes(name) : ON_REQUEST.has(name)) continue;
    console.log(`\n## ${name}`);
    for (const line of await run(options)) console.log(line);
  }
}

await main();
