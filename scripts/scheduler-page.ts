/**
 * @file `npm run docs:schedulers [-- --sheets PATTERN]`: makes docs/schedulers.md, a plot per scheduler name, and contact sheets of
 * the bundled model's pictures. `--sheets` makes only the sheets whose name matches (`--sheets ^$`: none).
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { decodePng, encodePng } from '../src/image/png.js';
import type { RgbPicture } from '../src/image/pixels.js';
import type { Engine } from '../src/pipeline/engine.js';
import { parseSchedulerConfig } from '../src/models/configs/scheduler.js';
import { contactSheet, fewerColours, type Strip } from './lib/contact-sheet.js';
import { BUNDLED_MODEL, createNodeEngine } from './lib/node-engine.js';
import { PICTURE_STEPS, schedulerFacts } from './lib/scheduler-facts.js';
import { groupsOf, PAGE_PROMPT, PAGE_SEED, schedulerMarkdown, slugOf, type Group } from './lib/scheduler-markdown.js';
import { plotSigmas } from './lib/scheduler-plot.js';

const PAGE = join(import.meta.dirname, '../docs/schedulers.md');
const CONFIG = join(BUNDLED_MODEL, 'scheduler/scheduler_config.json');
const FOLDER = join(import.meta.dirname, '../docs/schedulers');
/** Strips beside each other on a sheet. */
const COLUMNS = 2;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { sheets: { type: 'string', default: '' } } });
  const facts = schedulerFacts(parseSchedulerConfig(JSON.parse(await readFile(CONFIG, 'utf8'))));
  await mkdir(FOLDER, { recursive: true });
  const text = schedulerMarkdown(facts);
  await writeFile(PAGE, await format(text, { ...(await resolveConfig(PAGE)), parser: 'markdown' }));
  for (const { name, sampler } of facts)
    if (sampler !== undefined)
      await writeFile(join(FOLDER, `${slugOf(name)}.svg`), plotSigmas(`σ of ${name}`, sampler.sigmas));
  const wanted = new RegExp(values.sheets);
  const engine = createNodeEngine({ models: {} });
  try {
    for (const group of groupsOf(facts).filter(({ id }) => wanted.test(id))) await writeSheet(engine, group);
  } finally {
    await engine.dispose();
  }
}

async function writeSheet(engine: Engine, { id, members }: Group): Promise<void> {
  const strips: Strip[] = [];
  for (const { name, because, sameAs } of members) {
    if (because !== undefined || sameAs !== undefined) continue;
    const pictures: RgbPicture[] = [];
    for (const steps of PICTURE_STEPS) pictures.push(fewerColours(await draw(engine, name, steps)));
    strips.push({ caption: name, pictures });
    console.log(`${id}: ${name}`);
  }
  if (strips.length > 0) await writeFile(join(FOLDER, `${id}.png`), await encodePng(contactSheet(strips, COLUMNS)));
}

async function draw(engine: Engine, scheduler: string, steps: number): Promise<RgbPicture> {
  let file: Uint8Array<ArrayBuffer> | undefined;
  const { errors } = await engine.run(
    { positivePrompt: PAGE_PROMPT, seed: PAGE_SEED, scheduler, steps, outputFormat: 'PNG' },
    {
      onEvent(event) {
        if (event.kind === 'picture') file = event.picture.bytes;
      },
    },
  );
  if (file === undefined) throw new Error(`${scheduler} at ${steps} steps: ${errors[0]?.message ?? 'no picture'}`);
  const { width, height, data } = await decodePng(file);
  return { width, height, rgb: data };
}

await main();
