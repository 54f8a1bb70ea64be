/** @file Which preprocessor draws the guide, with what it has to know: fields ↔ a drawing. */
import { announce, find, make } from '../dom.js';
import { makeButton, makeField, makeMenu, makeNumber, numberOf } from '../fields.js';
import { makeOpeners } from '../open-files.js';
import { problemsOf, showAtField } from '../problems.js';
import type { Shelf } from '../shelf.js';
import type { Drawing } from './guide.js';
import { NEURAL, NONE, neuralOf, SIMPLE } from './preprocessors.js';

/** Where the model decides the size: no model's own is larger. */
const USUAL_WIDTH = 1024;

export interface PreprocessorFields {
  readonly fields: readonly HTMLElement[];
  read(): Drawing;
  /** Whether it takes no network. */
  drawsAtOnce(): boolean;
  /** Of a parameter of `controlNetPreprocess`. */
  fieldOf(parameter: string): HTMLElement | undefined;
}

export interface PreprocessorOptions {
  readonly shelf: Shelf;
  /** Another drawing is wanted. */
  readonly onChange: () => void;
  /** The visitor asks for a drawing that takes one. */
  readonly onDraw: () => void;
}

export function makePreprocessorFields(id: string, options: PreprocessorOptions): PreprocessorFields {
  const menu = makeMenu(`${id}-type`, { [NONE]: 'none: it is a guide already' });
  menu.append(groupOf('Drawn at once', SIMPLE), groupOf('Drawn by a network', labelsOf(NEURAL)));
  const bounds = { min: '0', max: '255', step: '1', inputMode: 'numeric' };
  const low = makeNumber(`${id}-low`, { ...bounds, value: '100' });
  const high = makeNumber(`${id}-high`, { ...bounds, value: '200' });
  const thresholds = make(
    'div',
    { className: 'pair', hidden: true },
    drawingField('lowThresholdCanny', 'Low', low),
    drawingField('highThresholdCanny', 'High', high),
  );
  const needs = make('p', { className: 'aside' });
  const network = make('div', { className: 'field network', hidden: true }, needs);
  const field = drawingField('preProcessorType', 'Preprocessor', menu);
  const openers = makeOpeners('network', async (_, source) => {
    const neural = neuralOf(menu.value);
    if (neural === undefined) return;
    try {
      await options.shelf.replace(neural.network, source);
      announce('The network is open.');
      options.onDraw();
    } catch (error) {
      showAtField(field, problemsOf(error));
    }
  });
  network.append(make('div', { className: 'row' }, makeButton('Draw the guide', options.onDraw), ...openers));

  function arrange(): void {
    const neural = neuralOf(menu.value);
    thresholds.hidden = menu.value !== 'canny';
    network.hidden = neural === undefined;
    needs.textContent = neural?.needs ?? '';
  }

  menu.addEventListener('change', () => {
    arrange();
    options.onChange();
  });
  thresholds.addEventListener('change', () => options.onChange());
  return {
    fields: [field, thresholds, network],
    read: () => ({
      type: menu.value,
      ...(menu.value === 'canny' ? thresholdsOf(low, high) : {}),
      ...(menu.value === NONE ? {} : size()),
    }),
    drawsAtOnce: () => neuralOf(menu.value) === undefined,
    fieldOf: (parameter) => [field, ...thresholds.children].find((one) => isOf(one, parameter)),
  };
}

function groupOf(label: string, options: Readonly<Record<string, string>>): HTMLOptGroupElement {
  const choices = Object.entries(options).map(([value, text]) => make('option', { value }, text));
  return make('optgroup', { label }, ...choices);
}

function labelsOf(neural: typeof NEURAL): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(neural).map(([name, { label }]) => [name, label]));
}

/** A field that belongs to the drawing, not to the request; errors of the drawing find it by its name. */
function drawingField(name: string, label: string, control: HTMLInputElement | HTMLSelectElement): HTMLElement {
  const field = makeField({ label, cloudName: name }, control);
  field.dataset['drawing'] = name;
  return field;
}

function isOf(field: Element, parameter: string): field is HTMLElement {
  return field instanceof HTMLElement && field.dataset['drawing'] === parameter;
}

/** The size of the picture to come: a guide is drawn at it, so that its lines stay sharp. */
function size(): Pick<Drawing, 'width' | 'height'> {
  const width = numberOf(find('width', HTMLInputElement));
  const height = numberOf(find('height', HTMLInputElement));
  if (width === undefined && height === undefined) return { width: USUAL_WIDTH };
  return { ...(width === undefined ? {} : { width }), ...(height === undefined ? {} : { height }) };
}

function thresholdsOf(low: HTMLInputElement, high: HTMLInputElement): Omit<Drawing, 'type'> {
  const [lowThresholdCanny, highThresholdCanny] = [numberOf(low), numberOf(high)];
  return {
    ...(lowThresholdCanny === undefined ? {} : { lowThresholdCanny }),
    ...(highThresholdCanny === undefined ? {} : { highThresholdCanny }),
  };
}
