/** @file One ControlNet: the net, its guide, how much it counts and during which steps. */
import type { ImageInferenceRequest } from '../../src/index.js';
import { make } from '../dom.js';
import { makeField, makeMenu, makeNumber, makeSliderField, numberOf } from '../fields.js';
import type { Entry } from './entry-list.js';
import { makeGuideField, type GuideField, type GuideOptions } from './guide-field.js';
import { makeModelField } from './model-field.js';

export type Control = NonNullable<ImageInferenceRequest['controlNet']>[number];
type Mode = NonNullable<Control['controlMode']>;
type Kind = Extract<Control['unionMode'], string>;

export interface ControlEntry extends Entry<Control> {
  readonly guide: GuideField;
}

const MODES = {
  controlnet: 'controlnet: the guide',
  balanced: 'balanced: guide and prompt alike',
  prompt: 'prompt: the prompt',
} as const satisfies Record<Mode, string>;

/** What kind of guide it is, for nets that take several; the names are the library's. */
const KINDS = {
  '': 'as it was drawn here',
  canny: 'edges (canny)',
  tile: 'tile',
  depth: 'depth',
  blur: 'blurred',
  pose: 'pose',
  gray: 'gray',
  lq: 'low quality',
} as const satisfies Readonly<Record<Kind | '', string>>;
const KIND_NAMES = ['canny', 'tile', 'depth', 'blur', 'pose', 'gray', 'lq'] as const satisfies readonly Kind[];

/** The two ways to say a window; a request takes either, not both. */
const WINDOWS = {
  steps: { text: 'steps', from: 'startStep', to: 'endStep' },
  percent: { text: 'percent', from: 'startStepPercentage', to: 'endStepPercentage' },
} as const;
type Unit = keyof typeof WINDOWS;

export function createControlEntry(id: string, value: Control | undefined, options: GuideOptions): ControlEntry {
  const { shelf } = options;
  const model = makeModelField(`${id}-model`, value?.model ?? '', {
    kind: 'controlNet',
    noun: 'ControlNet',
    list: 'open-controlNet',
    shelf,
  });
  const guide = makeGuideField(id, options);
  const weight = makeNumber(`${id}-weight`, { value: String(value?.weight ?? 1), placeholder: '1' });
  const range = { min: 0, max: 1, step: 0.05 };
  const weightField = makeSliderField({ part: 'weight', label: 'Weight' }, weight, range);
  const mode = makeMenu(`${id}-mode`, MODES);
  mode.value = value?.controlMode ?? 'controlnet';
  const modeField = makeField({ part: 'controlMode', label: 'What counts more', cloudName: 'controlMode' }, mode);
  const kind = makeMenu(`${id}-kind`, KINDS);
  kind.value = kindOf(value?.unionMode) ?? '';
  const kindField = makeField(
    { part: 'unionMode', label: 'Kind of guide, for union nets', cloudName: 'unionMode' },
    kind,
  );
  const span = makeWindow(id, value);
  if (typeof value?.guideImage === 'string' && value.guideImage !== '') {
    guide.choose({ kind: 'kept', imageUUID: value.guideImage });
  }
  return {
    guide,
    fields: [model.field, ...guide.fields, weightField, ...span.fields, modeField, kindField],
    read() {
      const name = model.name();
      if (name === '' && guide.isEmpty) return undefined;
      const [number, unionMode] = [numberOf(weight), kindOf(kind.value)];
      return {
        model: name,
        guideImage: guide.imageUUID(),
        ...(number === undefined ? {} : { weight: number }),
        ...span.read(),
        controlMode: modeOf(mode.value),
        ...(unionMode === undefined ? {} : { unionMode }),
      };
    },
    mounted: (element) => guide.takeFrom(element),
    dispose: () => guide.dispose(),
  };
}

type Span = Pick<Control, 'startStep' | 'endStep' | 'startStepPercentage' | 'endStepPercentage'>;

/** From when to when it counts; empty fields mean the first and the last step. */
function makeWindow(
  id: string,
  value: Span | undefined,
): { readonly fields: HTMLElement[]; readonly read: () => Span } {
  const unit = makeMenu(`${id}-unit`, { steps: WINDOWS.steps.text, percent: WINDOWS.percent.text });
  const isPercent = value?.startStepPercentage !== undefined || value?.endStepPercentage !== undefined;
  unit.value = isPercent ? 'percent' : 'steps';
  const { from: start, to: end } = WINDOWS[unitOf(unit.value)];
  const from = makeNumber(`${id}-from`, {
    placeholder: 'first',
    value: String(value?.[start] ?? ''),
    inputMode: 'numeric',
  });
  const to = makeNumber(`${id}-to`, { placeholder: 'last', value: String(value?.[end] ?? ''), inputMode: 'numeric' });
  const fromField = makeField({ part: start, label: 'From', cloudName: start }, from);
  const toField = makeField({ part: end, label: 'To', cloudName: end }, to);
  const unitField = makeField({ label: 'Acts during' }, unit);

  function arrange(): void {
    const window = WINDOWS[unitOf(unit.value)];
    for (const [field, part] of [
      [fromField, window.from],
      [toField, window.to],
    ] as const) {
      field.dataset['part'] = part;
      delete field.dataset['parameter'];
      field.querySelector('.aside')?.replaceChildren(part);
    }
  }
  unit.addEventListener('change', arrange);
  return {
    fields: [unitField, make('div', { className: 'pair' }, fromField, toField)],
    read() {
      const window = WINDOWS[unitOf(unit.value)];
      const [first, last] = [numberOf(from), numberOf(to)];
      return {
        ...(first === undefined ? {} : { [window.from]: first }),
        ...(last === undefined ? {} : { [window.to]: last }),
      };
    },
  };
}

function unitOf(value: string): Unit {
  return value === 'percent' ? value : 'steps';
}

/** A mode by its number is one of the names, in their order. */
function kindOf(mode: string | number | undefined): Kind | undefined {
  const name = typeof mode === 'string' ? mode.toLowerCase() : mode;
  return KIND_NAMES.find((known, i) => known === name || i === name);
}

function modeOf(value: string): Mode {
  return value === 'prompt' || value === 'balanced' ? value : 'controlnet';
}
