/** @file Fields that are made at run time, in the form that those of index.html have. */
import { make } from './dom.js';
import { linkSlider } from './slider.js';

type Control = HTMLInputElement | HTMLSelectElement;

export interface FieldText {
  /** The parameter's name within its entry of the request, e.g. `weight` of `lora[0].weight`; what a request does not say has none. */
  readonly part?: string;
  readonly label: string;
  /** What a developer knows it as, in small type beside the label. */
  readonly cloudName?: string;
}

/** A labelled control with an id, and what belongs below it. */
export function makeField({ part, label, cloudName }: FieldText, control: Control, ...below: Node[]): HTMLElement {
  const name = cloudName === undefined ? [] : [' ', make('span', { className: 'aside' }, cloudName)];
  return make(
    'div',
    { className: 'field', ...(part === undefined ? {} : { 'data-part': part }) },
    make('label', { htmlFor: control.id }, label, ...name),
    ...(below.some((node) => node.contains(control)) ? below : [control, ...below]),
  );
}

export interface Range {
  readonly min: number;
  readonly max: number;
  readonly step: number;
}

/** A number with its slider. */
export function makeSliderField(text: FieldText, number: HTMLInputElement, range: Range): HTMLElement {
  const bounds = { min: String(range.min), max: String(range.max), step: String(range.step) };
  const slider = make('input', {
    type: 'range',
    ...bounds,
    value: number.value,
    'aria-label': `${text.label}, slider`,
  });
  Object.assign(number, bounds);
  linkSlider(slider, number);
  return makeField(text, number, make('div', { className: 'slider' }, slider, number));
}

export function makeNumber(id: string, properties: Readonly<Record<string, unknown>> = {}): HTMLInputElement {
  return make('input', { type: 'number', id, inputMode: 'decimal', ...properties });
}

/** @param options value → what the visitor reads */
export function makeMenu(id: string, options: Readonly<Record<string, string>>): HTMLSelectElement {
  const choices = Object.entries(options).map(([value, text]) => make('option', { value }, text));
  return make('select', { id }, ...choices);
}

/** Shows a value and tells whoever listens, as if it had been typed. */
export function setValue(control: Control, value: string | number | undefined): void {
  control.value = String(value ?? '');
  control.dispatchEvent(new Event('input', { bubbles: true }));
}

/** What was typed as a number; nothing where the field is empty. */
export function numberOf(input: HTMLInputElement): number | undefined {
  return input.value === '' ? undefined : Number(input.value);
}

export function makeButton(text: string, onClick: () => void, name?: string): HTMLButtonElement {
  const button = make('button', { type: 'button', className: 'small' }, text);
  if (name !== undefined) button.setAttribute('aria-label', name);
  button.addEventListener('click', onClick);
  return button;
}
