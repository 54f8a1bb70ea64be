/** @file What only FLUX.1 has: where a file takes its other parts from, how its weights are kept, the length of its text, true guidance. */
import type { ImageInferenceRequest } from '../src/index.js';
import { addOpeners } from './add-ons/model-field.js';
import { choose, find } from './dom.js';
import type { SaidOfModel, Shelf } from './shelf.js';

export type FluxRequest = Pick<ImageInferenceRequest, 'maxSequenceLength' | 'trueCFGScale'>;
/** What a model is registered with, beside its name and its files. */
export type FluxDetails = Pick<SaidOfModel, 'companions' | 'overrides'>;

const BITS = [4, 8, 16] as const;

/** @param onDetails called when models would be registered otherwise than before */
export function setUpFlux(shelf: Shelf, onDetails: () => void): void {
  const parts = find('companions', HTMLInputElement);
  parts.after(...addOpeners(parts, { kind: 'parts', noun: 'FLUX.1 parts', shelf }));
  let before = JSON.stringify(readFluxDetails());
  const changed = (): void => {
    const now = JSON.stringify(readFluxDetails());
    if (now === before) return;
    before = now;
    onDetails();
  };
  parts.addEventListener('change', changed); // what is typed, when it is whole
  parts.addEventListener('input', () => shelf.has(parts.value.trim()) && changed());
  for (const id of ['weightBits', 'textEncoderBits'] as const)
    find(id, HTMLSelectElement).addEventListener('change', changed);
}

/** What is left empty is not said. */
export function readFluxDetails(): FluxDetails {
  const parts = find('companions', HTMLInputElement).value.trim();
  const [weightBits, textEncoderBits] = [readBits('weightBits'), readBits('textEncoderBits')];
  const overrides = {
    ...(weightBits === undefined ? {} : { weightBits }),
    ...(textEncoderBits === undefined ? {} : { textEncoderBits }),
  };
  return {
    ...(parts === '' ? {} : { companions: [parts] }),
    ...(Object.keys(overrides).length === 0 ? {} : { overrides }),
  };
}

function readBits(id: 'weightBits' | 'textEncoderBits'): (typeof BITS)[number] | undefined {
  const { value } = find(id, HTMLSelectElement);
  return BITS.find((known) => String(known) === value);
}

/** What is left empty is not part of the request. */
export function readFluxRequest(): FluxRequest {
  const length = find('maxSequenceLength', HTMLSelectElement).value;
  const scale = find('trueCFGScale', HTMLInputElement).value;
  return {
    ...(length === '' ? {} : { maxSequenceLength: Number(length) }),
    ...(scale === '' ? {} : { trueCFGScale: Number(scale) }),
  };
}

/** Empties what a picture was made without. A length that the menu does not have becomes one of its choices. */
export function writeFluxRequest({ maxSequenceLength: length, trueCFGScale }: FluxRequest): void {
  const menu = find('maxSequenceLength', HTMLSelectElement);
  const value = String(length ?? '');
  if ([...menu.options].every((option) => option.value !== value)) menu.add(new Option(`${value} tokens`, value));
  choose('maxSequenceLength', value);
  find('trueCFGScale', HTMLInputElement).value = String(trueCFGScale ?? '');
}
