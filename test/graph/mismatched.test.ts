/** @file Models whose parts do not belong together, on the CPU: each is told before the first step, and what comes out in one colour is told too. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import type { WireEvent } from '../../src/pipeline/events.js';

const MODELS = join(import.meta.dirname, '../golden/models');
const root = mkdtempSync(join(tmpdir(), 'darkroom-mismatched-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A copy of a model in which files are another model's. */
function mixed(name: string, base: string, parts: Readonly<Record<string, string>>): string {
  const folder = join(root, name);
  cpSync(join(MODELS, base), folder, { recursive: true });
  for (const [part, from] of Object.entries(parts)) {
    rmSync(join(folder, part), { recursive: true });
    cpSync(join(MODELS, from, part), join(folder, part), { recursive: true });
  }
  return folder;
}

const SCHEDULER = 'scheduler/scheduler_config.json';
const damaged = mixed('damaged', 'sd15-tiny', {});
const config = join(damaged, 'vae/config.json');
writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), layers_per_block: 6 }));

/** All zeros behind the header: a decoder that makes one colour of everything. */
const zeros = mixed('zeros', 'sd15-tiny', {});
const weights = join(zeros, 'vae/diffusion_pytorch_model.safetensors');
const file = readFileSync(weights);
writeFileSync(weights, Buffer.concat([file.subarray(0, 8 + Number(file.readBigUInt64LE(0)))], file.length));

const engine = createNodeEngine({
  models: {
    texts: mixed('texts', 'sd15-tiny', { unet: 'sd2v-tiny' }),
    'flow schedule': mixed('flow', 'sd15-tiny', { [SCHEDULER]: 'flux-dev-tiny' }),
    'diffusion schedule': mixed('diffusion', 'flux-dev-tiny', { [SCHEDULER]: 'sd15-tiny' }),
    'other decoder': damaged,
    zeros,
    sdxl: join(MODELS, 'sdxl-tiny'),
    sd15: join(MODELS, 'sd15-tiny'),
  },
});
afterAll(() => engine.dispose());

async function run(model: string, more: object = {}) {
  const events: WireEvent[] = [];
  const request = { positivePrompt: 'a red fox', model, width: 128, height: 128, steps: 1, seed: 5, ...more };
  const { errors } = await engine.run(request, { onEvent: (event) => events.push(event) });
  return { errors, events, steps: events.filter((event) => event.kind === 'progress' && event.stage === 'denoise') };
}

it.each([
  ['texts', 'invalidModelConfig', /text encoders give states 32 wide, its UNet reads/],
  ['flow schedule', 'invalidModelConfig', /use_dynamic_shifting is true/],
  ['diffusion schedule', 'invalidModelConfig', /is for a diffusion model; FLUX.1 is sampled by flow matching/],
  ['other decoder', 'missingWeight', /has no weight "decoder/],
])('%s', async (model, code, message) => {
  const { errors, steps } = await run(model);
  expect(errors).toMatchObject([{ code, message: expect.stringMatching(message) as string }]);
  expect(steps).toEqual([]);
});

it('a refiner or VAE that is none is said of its parameter', async () => {
  const { errors } = await run('sdxl', { steps: 4, refiner: { model: 'sd15', startStep: 2 } });
  expect(errors).toMatchObject([{ code: 'invalidRefinerModel', parameter: 'refiner.model' }]);
});

it('a picture of one colour comes with a warning', async () => {
  const { errors, events } = await run('zeros', { outputFormat: 'PNG' });
  const [warnings] = events.flatMap((event) => (event.kind === 'picture' ? [event.picture.warnings] : []));
  expect(errors).toEqual([]);
  expect(warnings).toEqual([expect.stringMatching(/one colour, 128, 128, 128/)]);
});

it('an abort that comes from outside is noticed between two steps, though they block the thread', async () => {
  const controller = new AbortController();
  let steps = 0;
  const request = { positivePrompt: 'a red fox', model: 'sd15', width: 128, height: 128, steps: 100, seed: 5 };
  const { errors } = await engine.run(request, {
    signal: controller.signal,
    onEvent(event) {
      if (event.kind !== 'progress' || event.stage !== 'denoise') return;
      if (steps++ === 0) setTimeout(() => controller.abort(), 1);
    },
  });
  expect(errors.map(({ code }) => code)).toEqual(['aborted']);
  expect(steps).toBeLessThan(20);
});
