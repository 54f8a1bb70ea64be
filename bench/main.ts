/**
 * @file `npm run bench [-- graphs|sampling|memory|model|load|lora|flux]`: what things cost on this machine. Ratios are within one run; times are only of this
 * machine. Without an argument everything runs. `flux` takes `--tokens N` and `--backend wasm|webgpu`.
 */
import { parseArgs } from 'node:util';
import { benchFlux, type FluxBenchOptions } from './flux.js';
import { benchGraphs } from './graphs.js';
import { benchLoad } from './load.js';
import { benchLora } from './lora.js';
import { benchMemory } from './memory.js';
import { benchModel } from './model.js';
import { benchSampling } from './sampling.js';

const BENCHES: Readonly<Record<string, (options: FluxBenchOptions) => Promise<readonly string[]>>> = {
  graphs: benchGraphs,
  sampling: benchSampling,
  memory: benchMemory,
  model: benchModel,
  load: benchLoad,
  lora: benchLora,
  flux: benchFlux,
};

async function main(): Promise<void> {
  const { positionals: wanted, values: options } = parseArgs({
    allowPositionals: true,
    options: { tokens: { type: 'string' }, backend: { type: 'string' } },
  });
  const unknown = wanted.filter((name) => !(name in BENCHES));
  if (unknown.length > 0)
    throw new Error(`No bench is called ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}.`);
  for (const [name, run] of Object.entries(BENCHES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    console.log(`\n## ${name}`);
    for (const line of await run(options)) console.log(line);
  }
}

await main();
