/** @file The form ↔ a request. Values go to the library as they are typed: it checks them, and its errors come back to the fields. */
import { SCHEDULER_NAMES, type ImageInferenceRequest } from '../src/index.js';
import type { AddOns } from './add-ons/add-ons.js';
import { choose, find, make } from './dom.js';
import { readExtras, writeExtras } from './extras.js';
import { readFluxRequest, writeFluxRequest } from './flux.js';
import { createSeedControl, type SeedControl } from './seed.js';
import { linkSlider } from './slider.js';

/** What is put back into the form, from a file or the contact sheet. */
export type Settings = Partial<ImageInferenceRequest>;

export interface RequestForm {
  readonly seed: SeedControl;
  read(): ImageInferenceRequest;
  /**
   * Puts settings in; fields that are not named keep their value, but a prompt comes with its negative prompt, weights, VAE, refiner and
   * add-ons or without them. The seed is locked.
   */
  write(settings: Settings): void;
}

const NUMBERS = ['width', 'height', 'steps', 'CFGScale', 'numberResults'] as const;
const EXAMPLES = [
  'a red house',
  'a blue star',
  'a penguin',
  'a sailing boat on the sea',
  'a red balloon over green hills',
  'a white ghost',
  'a purple mushroom',
  'a castle',
  'a yellow car',
] as const;

export function createRequestForm(addOns: AddOns): RequestForm {
  const seed = createSeedControl();
  fillSchedulers();
  fillExamples();
  linkSliders();
  linkQuality();
  return {
    seed,
    read: () => ({ ...read(seed), ...addOns.read() }),
    write(settings) {
      write(settings, seed);
      if (settings.positivePrompt !== undefined) addOns.write(settings);
    },
  };
}

function read(seed: SeedControl): ImageInferenceRequest {
  const negativePrompt = textOf('negativePrompt');
  const seedText = seed.value();
  const numbers = NUMBERS.flatMap((name) => {
    const { value } = find(name, HTMLInputElement);
    return value === '' ? [] : [[name, Number(value)] as const];
  });
  return {
    positivePrompt: textOf('positivePrompt'),
    ...(negativePrompt === '' ? {} : { negativePrompt }),
    model: find('model', HTMLSelectElement).value,
    ...Object.fromEntries(numbers),
    scheduler: find('scheduler', HTMLSelectElement).value,
    ...(seedText === undefined ? {} : { seed: seedText }),
    clipSkip: Number(find('clipSkip', HTMLSelectElement).value),
    ...readExtras(),
    ...readFluxRequest(),
    outputFormat: formatOf(find('outputFormat', HTMLSelectElement).value),
    outputQuality: Number(find('outputQuality', HTMLInputElement).value),
    outputType: 'URL',
  };
}

function textOf(id: string): string {
  return find(id, HTMLTextAreaElement).value.trim();
}

function formatOf(value: string): 'PNG' | 'JPG' | 'WEBP' {
  return value === 'JPG' || value === 'WEBP' ? value : 'PNG';
}

function write(settings: Settings, seed: SeedControl): void {
  if (settings.positivePrompt !== undefined) {
    find('positivePrompt', HTMLTextAreaElement).value = settings.positivePrompt;
    find('negativePrompt', HTMLTextAreaElement).value = settings.negativePrompt ?? '';
    writeExtras(settings);
    writeFluxRequest(settings);
  }
  for (const name of NUMBERS) {
    const value = settings[name];
    if (value === undefined) continue;
    const input = find(name, HTMLInputElement);
    input.value = String(value);
    input.dispatchEvent(new Event('input')); // moves its slider along
  }
  choose('scheduler', settings.scheduler);
  choose('clipSkip', settings.clipSkip);
  choose('model', settings.model);
  if (settings.seed !== undefined) seed.lock(String(settings.seed));
}

/** The names by family, so that seventy-six of them can be read. */
function fillSchedulers(): void {
  const families = [...new Set(SCHEDULER_NAMES.map(familyOf))];
  const groups = families.map((label) => {
    const names = SCHEDULER_NAMES.filter((name) => familyOf(name) === label);
    return make('optgroup', { label }, ...names.map((name) => make('option', { value: name }, name)));
  });
  find('scheduler', HTMLSelectElement).append(...groups);
}

function familyOf(name: string): string {
  if (name === 'Default') return 'The model’s own';
  if (/Scheduler$|Inverse$/.test(name)) return 'Named as in diffusers';
  return ['DPM++', 'Euler', 'UniPC', 'IPNDM'].find((family) => name.startsWith(family)) ?? 'Others';
}

function fillExamples(): void {
  const prompt = find('positivePrompt', HTMLTextAreaElement);
  const buttons = EXAMPLES.map((text) => {
    const button = make('button', { type: 'button' }, text);
    button.addEventListener('click', () => {
      prompt.value = text;
      prompt.focus();
    });
    return button;
  });
  find('examples', HTMLElement).append(...buttons);
}

/** The sliders of index.html name their number fields. */
function linkSliders(): void {
  for (const slider of document.querySelectorAll<HTMLInputElement>('input[type="range"][data-for]')) {
    linkSlider(slider, find(slider.dataset['for'] ?? '', HTMLInputElement));
  }
}

/** PNG has no quality. */
function linkQuality(): void {
  const format = find('outputFormat', HTMLSelectElement);
  format.addEventListener('change', () => {
    find('outputQuality', HTMLInputElement).disabled = format.value === 'PNG';
  });
}
