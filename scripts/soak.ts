/**
 * @file `npm run soak -- --pictures 200 --seed 1 --backend wasm`: pictures of changing models, sizes, schedulers and add-ons with one engine, some
 * aborted; prints what memory and open things do. Exit status 1 when something grows, fails, or comes out different.
 */
import { parseArgs } from 'node:util';
import { soakDownloads } from './lib/soak-downloads.js';
import { soakFolders, soakGuide, soakInNode, type SoakRequest } from './lib/soak-node.js';
import type { SoakResult } from './lib/soak-pictures.js';
import { SOAK_SETS } from './lib/soak-plan.js';
import { openServedPage } from './lib/served-page.js';
import type { SoakPage } from './page/soak.js';

const USAGE = `Usage: npm run soak -- [options]
  --pictures N   pictures to make (default: 200)
  --minutes M    begin no picture, and no download, after so long (default: no end)
  --models SET   tiny: several models and all kinds of add-ons; flux: of these FLUX.1 alone; micro: the smallest
                 (default: tiny on wasm, micro on webgpu)
  --seed S       a whole number; the same makes the same pictures in the same order (default: 1)
  --backend B    wasm (Node, the default) or webgpu (headless Chromium)
  --downloads N  downloads from a misbehaving server onto a failing disk, besides (default: 0)`;

async function soakInChromium({ onPicture, ...request }: SoakRequest): Promise<SoakResult> {
  const files = await soakFolders(request.set);
  // A folder's own name may say which file in it is meant.
  const keys = Object.keys(files.folders).map((name) => [name, name.replaceAll(/[^\w-]/g, '_')] as const);
  const served = await openServedPage(Object.fromEntries(keys.map(([name, key]) => [key, files.folders[name] ?? ''])));
  try {
    const { page } = served;
    const devtools = await page.context().newCDPSession(page);
    await page.exposeFunction('reportPicture', onPicture ?? (() => undefined));
    await page.exposeFunction('measureHeap', async () => {
      await devtools.send('HeapProfiler.collectGarbage');
      return (await devtools.send('Runtime.getHeapUsage')).usedSize;
    });
    await page.addScriptTag({ type: 'module', url: '/scripts/page/soak.ts' });
    await page.waitForFunction(() => 'soakPage' in globalThis);
    return await page.evaluate((options) => (Reflect.get(globalThis, 'soakPage') as SoakPage).run(options), {
      ...request,
      guide: soakGuide(),
      models: Object.fromEntries(keys),
    });
  } finally {
    await served.close();
    await files.remove();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      pictures: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string' },
      models: { type: 'string' },
      backend: { type: 'string', default: 'wasm' },
      downloads: { type: 'string', default: '0' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [pictures = 0, seed = 0, downloads = 0] = [values.pictures, values.seed, values.downloads].map(Number);
  const whole = [pictures, seed, downloads].every((n) => Number.isSafeInteger(n) && n >= 0);
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
  const { models = values.backend === 'wasm' ? 'tiny' : 'micro' } = values;
  const set = SOAK_SETS.find((name) => name === models);
  const valid = whole && set !== undefined && (minutes === undefined || minutes > 0);
  if (values.help === true || !valid || !['wasm', 'webgpu'].includes(values.backend)) {
    console.log(USAGE);
    return values.help === true ? 0 : 1;
  }
  const forMs = minutes === undefined ? undefined : minutes * 60_000;
  const problems: string[] = [];
  if (pictures > 0) {
    const begin = performance.now();
    const onPicture = (made: number): void =>
      void (process.stderr.isTTY && process.stderr.write(`\r${made} of ${pictures} `));
    const soak = values.backend === 'wasm' ? soakInNode : soakInChromium;
    const result = await soak({ set, pictures, forMs, seed, onPicture });
    console.log(
      `${result.pictures} pictures of ${result.tasks} tasks, ${result.aborted} of them aborted, in ${Math.round((performance.now() - begin) / 1000)} s`,
    );
    console.table(
      Object.fromEntries(
        Object.entries(result.lines).map(([name, { slope, rise, peak, flat }]) => [
          name,
          {
            'more for each picture': Number(slope.toFixed(1)),
            'in all': Math.round(rise),
            peak: Math.round(peak),
            flat,
          },
        ]),
      ),
    );
    problems.push(...result.problems);
  }
  if (downloads > 0) {
    const begin = performance.now();
    const { problems: bad, ...numbers } = await soakDownloads({ count: downloads, forMs, seed });
    console.log({ ...numbers, seconds: Math.round((performance.now() - begin) / 1000) });
    problems.push(...bad);
  }
  for (const problem of problems) console.error(problem);
  console.log(problems.length === 0 ? 'all is well' : `${problems.length} problems`);
  return problems.length === 0 ? 0 : 1;
}

process.exitCode = await main();
