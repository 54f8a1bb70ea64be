/** @file docs/schedulers.md: that it has every name, that its numbers are the code's and the goldens', and that its pictures are there. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';
import { contactSheet } from '../../../scripts/lib/contact-sheet.js';
import { plotSigmas } from '../../../scripts/lib/scheduler-plot.js';
import { schedulerFacts } from '../../../scripts/lib/scheduler-facts.js';
import { groupsOf, schedulerMarkdown, slugOf } from '../../../scripts/lib/scheduler-markdown.js';
import { decodePng } from '../../../src/image/png.js';
import { SCHEDULER_NAMES } from '../../../src/request/scheduler-names.js';
import { createSampler, type RawConfig } from '../../../src/sampling/index.js';
import { namesOf, storedTables } from '../../golden-runner/scheduler-goldens.js';
import { goldens, names } from './golden-cases.js';

const ROOT = join(import.meta.dirname, '../../..');
const PAGE = join(ROOT, 'docs/schedulers.md');
const FOLDER = join(ROOT, 'docs/schedulers');
const page = readFileSync(PAGE, 'utf8');
const bundled = JSON.parse(
  readFileSync(join(ROOT, 'models/tinyworld/scheduler/scheduler_config.json'), 'utf8'),
) as RawConfig; // checked by the code that reads it
const facts = schedulerFacts(bundled);

/** Name → the cells of its row. */
const rows = new Map(
  page
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| Name') && !line.startsWith('| -'))
    .map((line) =>
      line
        .slice(2, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
    .map(([name = '', ...cells]) => [name.replace(' ◦', ''), cells] as const),
);

describe('docs/schedulers.md', () => {
  it('is what the script writes (npm run docs:schedulers)', async () => {
    expect(page).toBe(await format(schedulerMarkdown(facts), { ...(await resolveConfig(PAGE)), parser: 'markdown' }));
  });

  it('has a row for each of the 76 names', () => {
    expect(SCHEDULER_NAMES).toHaveLength(76);
    for (const name of SCHEDULER_NAMES) expect([...rows.keys()]).toContain(name);
  });

  it('says of each name what the code does with the bundled model', () => {
    for (const name of SCHEDULER_NAMES) {
      const [className = '', about = '', network = '', sigmas = ''] = rows.get(name) ?? [];
      const make = (steps: number) => createSampler({ name, config: bundled, steps });
      const because = facts.find((f) => f.name === name)?.because;
      if (because !== undefined) {
        expect(() => make(20), name).toThrow(because);
        expect(about).toContain(because);
        continue;
      }
      const sampler = make(20);
      expect(className).toBe(`\`${sampler.className}\``);
      expect(network.split(', ').map(Number)).toEqual([4, 8, 20].map((steps) => make(steps).evaluations));
      const ends = [sampler.sigmas[0], sampler.sigmas.at(-2), sampler.sigmas.at(-1)];
      sigmas.split(', ').forEach((text, i) => expect(Number(text) / (ends[i] ?? NaN) || 1, name).toBeCloseTo(1, 3));
      expect(page.includes(`| ${name} ◦`)).toBe(sampler.stochastic);
    }
  });

  it('has diffusers’ first and last σ, where the bundled model is scheduled as a golden base', async () => {
    const { config } = names.bases['sd15'] ?? { config: {} };
    let checked = 0;
    for (const c of goldens.book.cases.filter(
      ({ kind, base, steps }) => kind === 'txt2img' && base === 'sd15' && steps === 20,
    ))
      for (const name of namesOf(goldens, c.variant, 'sd15')) {
        const ours = createSampler({ name, config: bundled, steps: 20 });
        const same = createSampler({ name, config, steps: 20 }).timesteps.every((t, i) => t === ours.timesteps[i]);
        const { sigmas } = storedTables(await goldens.file(c.class), c, ours);
        const printed = (rows.get(name)?.[3] ?? '').split(', ').map(Number);
        if (!same || sigmas.length === 0) continue;
        expect((printed[0] ?? NaN) / (sigmas[0] ?? NaN), name).toBeCloseTo(1, 3);
        expect((printed[1] ?? NaN) / (sigmas.at(-2) ?? NaN), name).toBeCloseTo(1, 3);
        checked++;
      }
    expect(checked).toBeGreaterThan(20);
  });

  it('has its plots, as the code draws them, and a contact sheet for every group that is drawn', async () => {
    for (const { name, sampler } of facts)
      if (sampler !== undefined)
        expect(readFileSync(join(FOLDER, `${slugOf(name)}.svg`), 'utf8')).toBe(
          plotSigmas(`σ of ${name}`, sampler.sigmas),
        );
    for (const { id, members } of groupsOf(facts)) {
      const drawn = members.filter(({ because, sameAs }) => because === undefined && sameAs === undefined).length;
      if (drawn === 0) continue;
      const { width, height } = await decodePng(new Uint8Array(readFileSync(join(FOLDER, `${id}.png`))));
      expect([width, height]).toEqual([2 * (3 * 130 + 8), Math.ceil(drawn / 2) * (128 + 24 + 8)]);
    }
  });

  it('is small, and has nothing left over from names that are gone', () => {
    const files = readdirSync(FOLDER);
    const wanted = [
      ...facts.filter(({ sampler }) => sampler !== undefined).map(({ name }) => `${slugOf(name)}.svg`),
      ...groupsOf(facts).map(({ id }) => `${id}.png`),
    ];
    expect(files.filter((file) => !wanted.includes(file))).toEqual([]);
    expect(files.reduce((sum, file) => sum + statSync(join(FOLDER, file)).size, 0)).toBeLessThan(3e6);
  });
});

describe('contactSheet', () => {
  const picture = (colour: number) => ({ width: 40, height: 8, rgb: new Uint8Array(3 * 40 * 8).fill(colour) });

  it('puts captions above pictures, strips beside and below each other', () => {
    const strips = ['A', 'B', 'C'].map((caption, i) => ({ caption, pictures: [picture(10 * i), picture(10 * i + 5)] }));
    const { width, height, rgb } = contactSheet(strips, 2);
    expect([width, height]).toEqual([2 * (2 * 42 + 8), 2 * (8 + 24 + 8)]);
    const at = (x: number, y: number): number => rgb[3 * (y * width + x)] ?? NaN;
    expect([at(4, 24), at(46, 24), at(96, 24), at(138, 24), at(4, 64), at(46, 64)]).toEqual([0, 5, 10, 15, 20, 25]);
    expect([at(96, 64), at(45, 24)]).toEqual([255, 255]); // no fourth strip; a gap between pictures
    // "A", three pixels a dot
    const dots = [0, 1, 2, 3, 4].map((row) =>
      [0, 1, 2].map((c) => (at(5 + 3 * c, 4 + 3 * row) < 255 ? '#' : '.')).join(''),
    );
    expect(dots).toEqual(['.#.', '#.#', '###', '#.#', '#.#']);
  });

  it('refuses a caption that it has no letters for', () => {
    expect(() => contactSheet([{ caption: 'ß?', pictures: [picture(0)] }], 1)).toThrow(/without a shape/);
  });
});
