/**
 * @file `npm run soak -- --pictures 200 --seed 1 --backend wasm`: pictures of changing models, sizes, schedulers and add-ons with one engine, some
 * aborted; prints what memory and open things do. Exit status 1 when something grows, fails, or comes out different.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { soakDownloads } from './lib/soak-downloads.js';
import { GOLDEN, soakGuide, soakInNode } from './lib/soak-node.js';
import type { SoakResult } from './lib/soak-pictures.js';
import { BUNDLED_MODEL } from './lib/node-engine.js';
import { openServedPage } from './lib/served-page.js';
import type { SoakPage } from './page/soak.js';

const USAGE = `Usage: npm run soak -- [options]
  --pictures N   pictures to make (default: 200)
  --seed S       a whole number; the same makes the same pictures in the same order (default: 1)
  --backend B    wasm (Node, the default) or webgpu (headless Chromium)
  --downloads N  downloads from a misbehaving server onto a failing disk, besides (default: 0)`;

interface Options {
  readonly pictures: number;
  readonly seed: number;
  readonly onPicture: (made: number) => void;
}

async function soakInChromium({ pictures, seed, onPicture }: Options): Promise<SoakResult> {
  const served = await openServedPage({ golden: GOLDEN, bundled: join(BUNDLED_MODEL) });
  try {
    const { page } = served;
    const devtools = await page.context().newCDPSession(page);
    await page.exposeFunction('reportPicture', onPicture);
    await page.exposeFunction('measureHeap', async () => {
      await devtools.send('HeapProfiler.collectGarbage');
      return (await devtools.send('Runtime.getHeapUsage')).usedSize;
    });
    await page.addScriptTag({ type: 'module', url: '/scripts/page/soak.ts' });
    await page.waitForFunction(() => 'soakPage' in globalThis);
    return await page.evaluate((options) => (Reflect.get(globalThis, 'soakPage') as SoakPage).run(options), {
      pictures,
      seed,
      guide: soakGuide(),
    });
  } finally {
    await served.close();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      pictures: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      backend: { type: 'string', default: 'wasm' },
      downloads: { type: 'string', default: '0' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [pictures = 0, seed = 0, downloads = 0] = [values.pictures, values.seed, values.downloads].map(Number);
  const whole = [pictures, seed, downloads].every((n) => Number.isSafeInteger(n) && n >= 0);
  if (values.help === true || !whole || !['wasm', 'webgpu'].includes(values.backend)) {
    console.log(USAGE);
    return values.help === true ? 0 : 1;
  }
  const problems: string[] = [];
  if (pictures > 0) {
    const begin = performance.now();
    const onPicture = (made: number): void =>
      void (process.stderr.isTTY && process.stderr.write(`\r${made} of ${pictures} `));
    const soak = values.backend === 'wasm' ? soakInNode : soakInChromium;
    const result = await soak({ pictures, seed, onPicture });
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
    const { problems: bad, ...numbers } = await soakDownloads({ count: downloads, seed });
    console.log(numbers);
    problems.push(...bad);
  }
  for (const problem of problems) console.error(problem);
  console.log(problems.length === 0 ? 'all is well' : `${problems.length} problems`);
  return problems.length === 0 ? 0 : 1;
}

process.exitCode = await main();
