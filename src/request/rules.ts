/**
 * @file What a rule for one parameter is, and the objects made of rules. The checkers of single values are in
 * `checkers.ts`, the parameters in `parameters.ts`.
 */
import { type Expectation, type Place, type Scope, property, reportInvalid, reportMissing } from './place.js';
import { type Properties, readProperties, show } from './read.js';

/** How one parameter is checked. */
export interface Rule<T> {
  /** The JSON type that error objects name: `integer`, `float`, `string`, `object[]`, … */
  readonly type: string;
  /** What a value must be; bounds may depend on the task's steps. */
  readonly expect: (scope: Scope) => Expectation;
  /** The checked value, or `undefined` after at least one report. */
  readonly check: (value: unknown, place: Place) => T | undefined;
  /** What an absent parameter means; without it: nothing. May report. */
  readonly absent?: (place: Place) => T | undefined;
}

/** A rule whose parameter is there in every checked object: required, or with a default. */
export interface SureRule<T> extends Rule<T> {
  readonly sure: true;
}

/** The rules of an object's properties. */
export type Rules = Readonly<Record<string, Rule<unknown>>>;

/** The type of value that a rule lets through. */
export type ValueOf<R> = R extends Rule<infer T> ? T : never;

type SureKeys<R> = { [K in keyof R]: R[K] extends SureRule<unknown> ? K : never }[keyof R];

/** The type of object that rules let through. */
export type Checked<R> = { readonly [K in SureKeys<R>]: ValueOf<R[K]> } & {
  readonly [K in Exclude<keyof R, SureKeys<R>>]?: ValueOf<R[K]>;
};

/** The parameter must be there. Error `missing<Parameter>`. */
export function required<T>(rule: Rule<T>): SureRule<T> {
  return { ...rule, sure: true, absent: missing(rule) };
}

/** A raw task must name the parameter; the SDK may leave it out. Error `missing<Parameter>`. */
export function requiredOnWire<T>(rule: Rule<T>): Rule<T> {
  return { ...rule, absent: (place) => (place.scope.dialect === 'wire' ? missing(rule)(place) : undefined) };
}

/** An absent parameter has this value. */
export function defaulted<T>(rule: Rule<T>, value: NoInfer<T>): SureRule<T> {
  return { ...rule, sure: true, absent: () => value };
}

/** An absent parameter has a value that depends on where the task comes from. */
export function defaultedBy<T>(rule: Rule<T>, value: (scope: Scope) => NoInfer<T>): SureRule<T> {
  return { ...rule, sure: true, absent: (place) => value(place.scope) };
}

function missing(rule: Rule<unknown>): (place: Place) => undefined {
  return (place) => {
    reportMissing(place, rule.type, rule.expect(place.scope));
    return undefined;
  };
}

/** Not sent. The SDK also drops `null` and `''` (sdk-js `evaluateNonTrue`). */
function isAbsent(value: unknown, scope: Scope): boolean {
  return value === undefined || (scope.dialect === 'sdk' && (value === null || value === ''));
}

/** What the properties of one object gave: the valid ones, and the names of all that were sent. */
export interface Findings<R extends Rules> {
  readonly valid: Partial<Checked<R>>;
  readonly sent: ReadonlySet<string>;
}

/** Checks every property that has a rule; reports all problems. Properties without a rule are not looked at. */
export function checkProperties<R extends Rules>(
  rules: R,
  values: ReadonlyMap<string, unknown>,
  place: Place,
): Findings<R> {
  const valid: Record<string, unknown> = {};
  const sent = new Set<string>();
  for (const [name, rule] of Object.entries(rules)) {
    const value = values.get(name);
    const here = property(place, name);
    const absent = isAbsent(value, place.scope);
    if (!absent) sent.add(name);
    const checked = absent ? rule.absent?.(here) : rule.check(value, here);
    if (checked !== undefined) valid[name] = checked;
  }
  // Each entry was made by the rule of its name, which is what `Checked` says; TypeScript cannot follow the loop.
  return { valid: valid as Partial<Checked<R>>, sent };
}

/** Whether no rule of the object failed, so that every sure property is there. */
export function isComplete<R extends Rules>(
  valid: Partial<Checked<R>>,
  errorsBefore: number,
  scope: Scope,
): valid is Checked<R> {
  return scope.errors.length === errorsBefore;
}

/** An object with these properties. `relate` checks what holds between them, also when some of them are invalid. */
export function object<R extends Rules>(
  rules: R,
  relate?: (findings: Findings<R>, place: Place) => void,
): Rule<Checked<R>> {
  const known = new Set(Object.keys(rules));
  const expectation: Expectation = { expected: `an object with ${[...known].map((name) => `'${name}'`).join(', ')}` };
  return {
    type: 'object',
    expect: () => expectation,
    check: (value, place) => {
      const before = place.scope.errors.length;
      const read = readProperties(value, known);
      if (read === undefined) {
        reportInvalid(place, 'object', value, expectation);
        return undefined;
      }
      warnOfUnknown(read, known, place);
      const findings = checkProperties(rules, read.values, place);
      relate?.(findings, place);
      return isComplete(findings.valid, before, place.scope) ? findings.valid : undefined;
    },
  };
}

/** Unknown names beyond this many are counted, not listed. */
const LISTED = 10;

/** Parameters that nobody knows are ignored, with a warning: the cloud's types are open, and typing errors are common. */
export function warnOfUnknown(read: Properties, known: ReadonlySet<string>, place: Place): void {
  const { warnings } = place.scope;
  for (const name of read.others.slice(0, LISTED)) {
    const path = place.label === '' ? show(name) : `${show(name)} of '${place.label}'`;
    const meant = [...known].find((candidate) => candidate.toLowerCase() === name.toLowerCase());
    warnings.push(`Unknown parameter ${path} was ignored${meant === undefined ? '' : `; did you mean '${meant}'?`}.`);
  }
  const more = read.others.length - LISTED;
  if (more > 0) warnings.push(`${more} more unknown parameters were ignored.`);
}
