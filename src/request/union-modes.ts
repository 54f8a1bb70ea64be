/**
 * @file The kinds of guides that union ControlNets of FLUX.1 tell apart. The names are those of the nets' publishers
 * (https://huggingface.co/InstantX/FLUX.1-dev-Controlnet-Union), and in the order of the cloud's seven identifiers. Data and one rule.
 */
import { leaf } from './checkers.js';
import type { PreProcessorType } from './preprocessors.js';
import type { Rule } from './rules.js';

/** A mode's number is its place. */
export const UNION_MODES = ['canny', 'tile', 'depth', 'blur', 'pose', 'gray', 'lq'] as const;

export type UnionMode = (typeof UNION_MODES)[number];

/** Nets may have more modes than have names. */
const MOST_MODES = 1000;

/** The number of a mode that is given by name or number; `undefined` for what is neither. */
export function unionModeNumber(value: unknown): number | undefined {
  if (typeof value === 'string') {
    const at = UNION_MODES.findIndex((name) => name === value.toLowerCase());
    return at < 0 ? undefined : at;
  }
  const isMode = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < MOST_MODES;
  return isMode ? value + 0 : undefined;
}

/** For messages: `depth (2)`. */
export function unionModeName(mode: number): string {
  const name = UNION_MODES[mode];
  return name === undefined ? String(mode) : `${name} (${mode})`;
}

/** What our preprocessors draw, where it is one of the kinds. */
const MODE_OF: Readonly<Partial<Record<PreProcessorType, UnionMode>>> = {
  canny: 'canny',
  tile: 'tile',
  depth: 'depth',
  blur: 'blur',
  openpose: 'pose',
  gray: 'gray',
};

/** The mode for guides that this preprocessor draws; `undefined` where there is none for them. */
export function unionModeOfGuide(type: PreProcessorType | undefined): number | undefined {
  return type && unionModeNumber(MODE_OF[type]);
}

/** A mode by name, in any capitals, or by number. */
export function unionMode(): Rule<number> {
  const names = UNION_MODES.map((name, i) => `'${name}' (${i})`).join(', ');
  return leaf(
    'string',
    () => ({ expected: `one of ${names}, or a mode's number`, allowedValues: [...UNION_MODES] }),
    unionModeNumber,
  );
}
