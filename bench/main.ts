/**
 * @file `npm run bench [-- graphs|sampling|memory|model|lora]`: what things cost on this machine. Ratios are within one run; times are only of this
 * machine. Without an argument everything runs.
 */
import { benchGraphs } from './graphs.js';
import { benchLora } from './lora.js';
import { benchMemory } from './memory.js';
import { benchModel } from './model.js';
import { benchSampling } from './sampling.js';

const BENCHES = {
  graphs: benchGraphs,
  sampling: benchSampling,
  memory: benchMemory,
  model: benchModel,
  lora: benchLora,
} as const;

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !(name in BENCHES));
  if (unknown.length > 0)
    throw new Error(`No bench is called ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}.`);
  for (const [name, run] of Object.entries(BENCHES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    console.log(`\n## ${name}`);
    for (const line of await run()) console.log(line);
  }
}

await main();
