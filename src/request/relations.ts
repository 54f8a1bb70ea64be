/**
 * @file The rules between parameters: pairs that exclude each other, ends that come after starts, parameters that need
 * another. They run on what is valid, so one problem is not reported twice.
 */
import { type Place, type Scope, property, report, reportInvalid, reportMissing } from './place.js';
import { show } from './read.js';
import type { Findings, Rules } from './rules.js';

type Valid = Readonly<Record<string, unknown>>;

/** `refiner`: one way to say where it starts; a start at the last step leaves it nothing to do. */
export function relateRefiner({ valid, sent }: Findings<Rules>, place: Place): void {
  exclude(sent, place, 'startStep', 'startStepPercentage');
  const { steps, warnings } = place.scope;
  if (valid['startStep'] === steps) {
    warnings.push(`'${place.label}' has no effect: it starts after step ${steps}, which is the last.`);
  }
}

/** `controlNet[]`: steps count from 1 and both ends are included, but an end must lie behind its start. */
export function relateControlNet(findings: Findings<Rules>, place: Place): void {
  relateWindow(findings, place, { start: 'startStep', end: 'endStep', first: 1 });
}

/** `acceleratorOptions`: the same pairs under other names; steps count from 0. */
export function relateAccelerator(findings: Findings<Rules>, place: Place): void {
  relateWindow(findings, place, { start: 'cacheStartStep', end: 'cacheEndStep', first: 0 });
}

/** A window of steps: its names (each with a twin `…Percentage`), and the step that is the start when none is given. */
interface Window {
  readonly start: string;
  readonly end: string;
  readonly first: number;
}

function relateWindow({ valid, sent }: Findings<Rules>, place: Place, { start, end, first }: Window): void {
  const [startPercent, endPercent] = [`${start}Percentage`, `${end}Percentage`];
  exclude(sent, place, start, startPercent);
  exclude(sent, place, end, endPercent);
  // Steps and percentages may be mixed ("from step 2 to 60 %"); only like is compared with like.
  const fromStart = !sent.has(start) && !sent.has(startPercent);
  const { steps } = place.scope;
  order(fromStart ? { ...valid, [start]: first } : valid, place, { start, end, last: steps });
  order(valid, place, { start: startPercent, end: endPercent, last: 100 });
}

/** `controlNetPreprocess`: the thresholds of Canny in order, and what only one kind of preprocessor hears. */
export function relatePreprocess({ valid, sent }: Findings<Rules>, place: Place): void {
  order(valid, place, { start: 'lowThresholdCanny', end: 'highThresholdCanny', last: 255 });
  const heard = { lowThresholdCanny: 'canny', highThresholdCanny: 'canny', includeHandsAndFaceOpenPose: 'openpose' };
  const { preProcessorType } = valid;
  for (const [name, type] of Object.entries(heard)) {
    if (!sent.has(name) || typeof preProcessorType !== 'string' || preProcessorType === type) continue;
    place.scope.warnings.push(`'${name}' has no effect: it is for '${type}', not '${preProcessorType}'.`);
  }
}

/** Error `conflictParameters` when both were sent, valid or not. */
function exclude(sent: ReadonlySet<string>, place: Place, one: string, other: string): void {
  if (!sent.has(one) || !sent.has(other)) return;
  const [a, b] = [property(place, one), property(place, other)];
  const message = `'${a.label}' and '${b.label}' exclude each other: expected at most one of them, got both.`;
  report(b, 'conflictParameters', message, { type: 'integer' });
}

/** Error `invalid<End>` when the end does not lie behind the start. */
function order(
  valid: Valid,
  place: Place,
  names: { readonly start: string; readonly end: string; readonly last: number },
): void {
  const end = valid[names.end];
  const start = valid[names.start];
  if (typeof end !== 'number' || typeof start !== 'number' || end > start) return;
  const [a, b] = [property(place, names.start), property(place, names.end)];
  const expected = `an integer above '${a.label}' (${start}) and at most ${names.last}`;
  reportInvalid(b, 'integer', end, { expected, min: start + 1, max: names.last });
}

/** The whole task: what needs a seed image, what needs a URL result, and what guidance below 1 leaves without effect. */
export function relateTask({ valid, sent }: Findings<Rules>, place: Place): void {
  const dependent = ['maskImage', 'outpaint'].filter((name) => sent.has(name));
  if (dependent.length > 0 && !sent.has('seedImage')) {
    const expected = `the picture that '${dependent.join("' and '")}' works on`;
    reportMissing(property(place, 'seedImage'), 'string', { expected });
  }
  const { outputType } = valid;
  if (sent.has('ttl') && outputType !== undefined && outputType !== 'URL') {
    const message = `'ttl' belongs to outputType 'URL': a URL can expire, ${show(outputType)} cannot.`;
    report(property(place, 'ttl'), 'conflictParameters', message, { type: 'integer' });
  }
  warnOfUnusedNegative(valid, place.scope);
}

/** CFGScale ≤ 1 runs the conditional branch only, so there is no unconditional branch that the prompt could steer. */
function warnOfUnusedNegative(valid: Valid, scope: Scope): void {
  const { CFGScale, negativePrompt } = valid;
  if (typeof CFGScale === 'number' && CFGScale <= 1 && negativePrompt !== undefined) {
    scope.warnings.push(
      `'negativePrompt' has no effect: CFGScale ${CFGScale} switches guidance off (above 1 it is on).`,
    );
  }
}
