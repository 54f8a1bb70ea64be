/** @file Fuzz target: what is said of a model when it is registered, and the references of its companions. */
import { parseDetails, type ModelRecord } from '../../src/models/details.js';
import { bundledRegistry, register, resolve } from '../../src/models/registry.js';
import { isObject, mutateJson } from './fuzz-mutate.js';
import { attempt, judge, must, type Target } from './fuzz-target.js';

/** As people register models. */
const DETAILS: readonly unknown[] = [
  { category: 'checkpoint', overrides: { weightBits: 4 }, companions: ['huggingface:black-forest-labs/FLUX.1-schnell'] },
  { companions: ['https://example.org/t5.gguf', 'https://example.org/parts/'], overrides: { weightBits: 8, textEncoderBits: 16, defaults: { steps: 4, width: 768 } } },
  { name: 'A model', family: 'flux', licence: 'Apache-2.0', native: [1024, 1024], defaults: { CFGScale: 3.5, scheduler: 'Euler Beta' } },
  { distillation: 'lcm', overrides: { prediction: 'v_prediction', scheduler: { shift: 3, use_dynamic_shifting: true, timestep_spacing: 'trailing' } } },
  { category: 'lora', latentRgb: { factors: [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.1, 0.2, 0.3]], bias: [0, 0, 0.5] } },
]; // prettier-ignore

const REFERENCES = ['civitai:618692@691639', 'some-model', 'runware:101@1', 'huggingface:a/b@main'];
const URLS = [
  'https://example.org/m.safetensors',
  'https://huggingface.co/a/b/resolve/main/m.gguf',
  'huggingface:a/b',
  'blob:https://example.org/1',
];

export const detailsTarget: Target = {
  kind: 'details',
  run(random) {
    const details = random.chance(0.1) ? random.pick(DETAILS) : mutateJson(random.pick(DETAILS), random);
    const [reference, url] = [random.pick(REFERENCES), random.pick(URLS)];
    return judge(
      () => parseDetails(details, 'The registration'),
      async (record) => {
        checkRecord(record, details);
        // Where its files are may be refused still; what was registered is found.
        const registry = await attempt(() => register(bundledRegistry(), reference, { kind: 'url', url }, details));
        if (registry === undefined) return;
        const category = record.category === undefined ? {} : { category: record.category };
        const found = await attempt(() => resolve(registry.value, reference, category));
        must(found !== undefined, () => `${reference} was registered and is not found`);
        for (const companion of found?.value.companions ?? []) {
          await attempt(() => resolve(registry.value, companion));
          must(companion.trim() !== '', () => 'a companion without a name');
        }
        structuredClone(found?.value);
      },
    );
  },
};

function checkRecord({ overrides, companions, card }: ModelRecord, given: unknown): void {
  const { scheduler = {}, defaults = {} } = overrides;
  must(companions === undefined || companions.every((name) => name.trim() !== ''), () => 'a companion without a name');
  for (const [key, value] of Object.entries(scheduler))
    must(isPlain(value), () => `scheduler key ${key}: ${typeof value}`);
  for (const { width = 512, height = 512, steps = 20, CFGScale = 7 } of [defaults, card.defaults ?? {}]) {
    must(
      [width, height].every((side) => Number.isInteger(side / 8) && side >= 8 && side <= 8192),
      () => `${width}×${height}`,
    );
    must(Number.isInteger(steps) && steps >= 1 && steps <= 100, () => `${steps} steps`);
    must(CFGScale >= 0 && CFGScale <= 50, () => `a scale of ${CFGScale}`);
  }
  for (const key of ['weightBits', 'textEncoderBits'] as const) {
    const bits = overrides[key];
    must([undefined, 4, 8, 16].includes(bits), () => `${key} of ${bits}`);
    const said = isObject(given) && isObject(given['overrides']) ? given['overrides'][key] : undefined;
    must((said ?? undefined) === bits, () => `${key}: ${String(said)} were asked for, ${bits} understood`);
  }
}

function isPlain(value: unknown): boolean {
  const isNumber = typeof value === 'number' && Number.isFinite(value);
  return (
    isNumber ||
    value === null ||
    ['string', 'boolean'].includes(typeof value) ||
    (Array.isArray(value) && value.every(Number.isFinite))
  );
}
