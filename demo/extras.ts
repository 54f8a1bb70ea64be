/** @file The settings that few pictures need: weights in the prompt, another VAE, a refiner. Fields ↔ their part of a request. */
import type { ImageInferenceRequest } from '../src/index.js';
import { addOpeners } from './add-ons/model-field.js';
import { choose, find } from './dom.js';
import type { Shelf } from './shelf.js';

export type Extras = Pick<ImageInferenceRequest, 'promptWeighting' | 'vae' | 'refiner'>;
type Refiner = NonNullable<Extras['refiner']>;

const STARTS = { startStep: 'refinerStartStep', startStepPercentage: 'refinerStartStepPercentage' } as const;

/** A VAE or a refiner can be opened beside its field. Where there is no refiner, there is nothing to say about its start. */
export function setUpExtras(shelf: Shelf): void {
  const vae = find('vae', HTMLInputElement);
  vae.after(...addOpeners(vae, { kind: 'vae', noun: 'VAE', shelf }));
  const refiner = find('refinerModel', HTMLInputElement);
  refiner.after(...addOpeners(refiner, { kind: 'refiner', noun: 'refiner', shelf }));
  refiner.addEventListener('input', enableStarts);
  enableStarts();
}

function enableStarts(): void {
  for (const id of Object.values(STARTS)) find(id, HTMLInputElement).disabled = textOf('refinerModel') === '';
}

/** What is left empty is not part of the request. */
export function readExtras(): Extras {
  const weighting = weightingOf(find('promptWeighting', HTMLSelectElement).value);
  const vae = textOf('vae');
  const model = textOf('refinerModel');
  return {
    ...(weighting === undefined ? {} : { promptWeighting: weighting }),
    ...(vae === '' ? {} : { vae }),
    ...(model === '' ? {} : { refiner: { model, ...readStarts() } }),
  };
}

function readStarts(): Omit<Refiner, 'model'> {
  const starts = Object.entries(STARTS).flatMap(([name, id]) => {
    const { value } = find(id, HTMLInputElement);
    return value === '' ? [] : [[name, Number(value)] as const];
  });
  return Object.fromEntries(starts);
}

/** Fills all of these fields; those that a picture was made without are emptied. */
export function writeExtras({ promptWeighting, vae, refiner }: Extras): void {
  choose('promptWeighting', promptWeighting ?? '');
  find('vae', HTMLInputElement).value = vae ?? '';
  find('refinerModel', HTMLInputElement).value = refiner?.model ?? '';
  find(STARTS.startStep, HTMLInputElement).value = String(refiner?.startStep ?? '');
  find(STARTS.startStepPercentage, HTMLInputElement).value = String(refiner?.startStepPercentage ?? '');
  enableStarts();
}

function textOf(id: string): string {
  return find(id, HTMLInputElement).value.trim();
}

function weightingOf(value: string): Extras['promptWeighting'] {
  return value === 'compel' || value === 'sdEmbeds' ? value : undefined;
}
