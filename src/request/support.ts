/**
 * @file Which parameters are understood but have no effect yet: remove a parameter's line when it gets one. A task that
 * asks for one of these is refused, so that no picture silently lacks what was asked for.
 */
import type { ParameterName } from './parameters.js';
import { type Scope, property, report, root } from './place.js';
import type { Findings, Rules } from './rules.js';

interface Unsupported {
  /** What the parameter would do; completes "it would …". */
  readonly would: string;
  /** Values that ask for nothing and are therefore accepted; none when absent. */
  readonly off?: (value: unknown) => boolean;
  /** What to do instead, when there is more to say than "leave it out". */
  readonly instead?: string;
}

const is =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    values.includes(value);

const empty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** An object none of whose properties has a value other than these. */
const only =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    typeof value === 'object' && value !== null && Object.values(value).every((entry) => values.includes(entry));

/** An object none of whose switches is on; numbers without a switch do nothing. */
const allOff = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Object.values(value).includes(true);

const PAGE_ONLY = 'The picture stays in this page: read it from the result.';

/** Parameter → what it would do. A parameter without a line here is supported. */
export const UNSUPPORTED: { readonly [Name in ParameterName]?: Unsupported } = {
  usePromptWeighting: { would: 'give the words of the prompt weights, such as (word)+', off: is(false) },

  seedImage: { would: 'start from a picture instead of noise' },
  maskImage: { would: 'limit the change to a part of the seed image' },
  maskMargin: { would: 'paint the masked part at a higher resolution and paste it back' },
  strength: { would: 'say how far the result may move from the seed image' },
  outpaint: { would: 'extend the seed image beyond its borders', off: only(0) },
  referenceImages: { would: 'show the model pictures to draw on', off: empty },
  ipAdapters: { would: 'prompt with pictures', off: empty },
  resolution: { would: 'choose a size preset', off: is('1k'), instead: "Say 'width' and 'height'." },

  acceleration: {
    would: 'trade quality for speed by a preset',
    off: is('none'),
    instead: "Choose fewer 'steps' or a few-step model.",
  },
  acceleratorOptions: { would: 'reuse results of earlier steps', off: allOff },
  advancedFeatures: { would: 'make pictures with a transparent background', off: only(false) },
  useCache: { would: 'answer from earlier results', off: is(false) },

  safety: { would: 'classify the result', off: only(false, 'none'), instead: 'No classifier runs here.' },
  checkNSFW: { would: 'classify the result', off: is(false), instead: 'No classifier runs here.' },
  uploadEndpoint: { would: 'send the picture to a server', instead: PAGE_ONLY },
  webhookURL: { would: 'send the result to a server', instead: PAGE_ONLY },
  deliveryMethod: { would: 'let the result be fetched later', off: is('sync'), instead: "Use 'sync'." },
  ttl: { would: 'let the URL of the picture expire' },

  puLID: { would: 'keep a face' },
  acePlusPlus: { would: 'edit by instruction with ACE++' },
  photoMaker: { would: 'keep a person' },
  instantID: { would: 'keep a face' },
  lycoris: { would: "add the weights of LyCORIS files to the model's", off: empty },
  ultralytics: { would: 'detect and repaint faces' },
  providerSettings: { would: 'configure a model that a provider runs' },
  settings: { would: 'configure a model that a provider runs' },
  inputs: { would: 'hand files to a model that a provider runs' },
};

/** One `unsupportedParameter` for each parameter that was sent, is not supported, and asks for something. */
export function reportUnsupported(rules: Rules, { valid, sent }: Findings<Rules>, scope: Scope): void {
  for (const [name, { would, off, instead }] of Object.entries(UNSUPPORTED)) {
    const value = valid[name];
    if (!sent.has(name) || (value !== undefined && off?.(value) === true)) continue;
    const place = property(root(scope), name);
    report(place, 'unsupportedParameter', `'${name}' is not supported: it would ${would}.`, {
      ...(rules[name] === undefined ? {} : { type: rules[name].type }),
      hint: instead ?? `Leave '${name}' out.`,
    });
  }
}
