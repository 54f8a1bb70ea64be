/** @file One LoRA or one embedding: which, and how much of it. */
import type { ImageInferenceRequest } from '../../src/index.js';
import { makeNumber, makeSliderField, numberOf } from '../fields.js';
import type { Entry } from './entry-list.js';
import { makeModelField, type ModelFieldOptions } from './model-field.js';

export type WeightedModel = NonNullable<ImageInferenceRequest['lora']>[number];

/** As the cloud has it; beyond, pictures fall apart. */
const WEIGHTS = { min: -4, max: 4, step: 0.05 } as const;

export function createWeightedEntry(
  id: string,
  value: WeightedModel | undefined,
  options: ModelFieldOptions & { readonly list: string },
): Entry<WeightedModel> {
  const model = makeModelField(`${id}-model`, value?.model ?? '', options);
  const weight = makeNumber(`${id}-weight`, { value: String(value?.weight ?? 1), placeholder: '1' });
  return {
    fields: [model.field, makeSliderField({ part: 'weight', label: 'Weight' }, weight, WEIGHTS)],
    read() {
      const name = model.name();
      const number = numberOf(weight);
      return name === '' ? undefined : { model: name, ...(number === undefined ? {} : { weight: number }) };
    },
  };
}
