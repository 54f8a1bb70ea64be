/** @file A field that names a model: one that is open on this page, an AIR or an address; or a file or folder that is opened here. */
import { announce, make } from '../dom.js';
import { makeField, setValue } from '../fields.js';
import { makeOpeners } from '../open-files.js';
import { clearProblems, problemsOf, showAtField } from '../problems.js';
import type { Kind, Shelf } from '../shelf.js';

export interface ModelFieldOptions {
  readonly kind: Exclude<Kind, 'model' | 'unknown'>;
  /** For people: "LoRA". */
  readonly noun: string;
  readonly shelf: Shelf;
}

/** What is opened beside a field goes into it, and nowhere else. */
export function addOpeners(input: HTMLInputElement, { kind, noun, shelf }: ModelFieldOptions): readonly HTMLElement[] {
  return makeOpeners(noun, async (given, source) => {
    const field = input.closest<HTMLElement>('.field');
    if (field === null) return;
    try {
      clearProblems(field);
      const name = await shelf.open(kind, given, source);
      setValue(input, name);
      announce(`${noun} ${name} is open.`);
    } catch (error) {
      showAtField(field, problemsOf(error));
    }
  });
}

export interface ModelField {
  readonly field: HTMLElement;
  /** Without spaces around it; empty where nothing is named. */
  name(): string;
}

/** @param list the id of the suggestions */
export function makeModelField(
  id: string,
  value: string,
  options: ModelFieldOptions & { readonly list: string },
): ModelField {
  const input = make('input', {
    type: 'text',
    id,
    value,
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: false,
    placeholder: 'name, AIR or https://…',
  });
  input.setAttribute('list', options.list);
  const row = make('div', { className: 'row opens' }, input, ...addOpeners(input, options));
  const field = makeField({ part: 'model', label: 'Model' }, input, row);
  return { field, name: () => input.value.trim() };
}
