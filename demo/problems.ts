/** @file What went wrong, in words, beside the field it concerns where there is one. */
import { DarkroomError } from '../src/index.js';
import { find, make } from './dom.js';

type Problem = DarkroomError['error'];

/** Anything thrown → the problems to show. */
export function problemsOf(error: unknown): readonly Problem[] {
  if (error instanceof DarkroomError) return error.errors;
  return [{ code: 'internalError', message: error instanceof Error ? error.message : String(error) }];
}

/** Shows every problem and moves the focus to the first field at fault, or to the list. */
export function showProblems(problems: readonly Problem[]): void {
  clearProblems();
  const rest = problems.filter((problem) => !showBesideField(problem));
  const list = find('problems', HTMLElement);
  list.replaceChildren(...rest.map(describe));
  list.hidden = rest.length === 0;
  const first = firstAtFault() ?? (rest.length > 0 ? list : undefined);
  first?.closest('details')?.setAttribute('open', '');
  first?.focus();
}

/** Replaces what stands below one field. */
export function showAtField(field: HTMLElement, problems: readonly Problem[]): void {
  clearProblems(field);
  for (const problem of problems) showAt(field, problem);
}

/** Where none is given: of the whole page. */
export function clearProblems(within?: HTMLElement): void {
  const scope = within ?? document;
  for (const error of scope.querySelectorAll('.field .error')) error.remove();
  for (const control of scope.querySelectorAll('[aria-invalid]')) {
    control.removeAttribute('aria-invalid');
    describeBy(control, false);
  }
  if (within !== undefined) return;
  const list = find('problems', HTMLElement);
  list.hidden = true;
  list.replaceChildren();
}

export function firstAtFault(): HTMLElement | undefined {
  return document.querySelector<HTMLElement>('[aria-invalid="true"]') ?? undefined;
}

/** False where the page has no field for it. */
function showBesideField(problem: Problem): boolean {
  const field = problem.parameter === undefined ? undefined : fieldOf(problem.parameter, problem.message);
  return field !== undefined && showAt(field, problem);
}

/** Adds a problem below a field, whatever it names. False where the field has no control. */
export function showAt(field: HTMLElement, problem: Problem): boolean {
  const control = field.querySelector(':is(input, select, textarea)[id]');
  if (control === null) return false;
  const id = errorId(control);
  const earlier = document.getElementById(id);
  const text = withHint(problem);
  if (earlier !== null) earlier.textContent += ` ${text}`;
  else field.append(make('p', { id, className: 'error', role: 'alert' }, text));
  control.setAttribute('aria-invalid', 'true');
  describeBy(control, true);
  return true;
}

/**
 * The field of `refiner.startStep`; of `lora.weight` that of the entry which the message is about; of `refiner` or `lora` the first of its
 * parts.
 */
function fieldOf(parameter: string, message: string): HTMLElement | undefined {
  const fields = [...document.querySelectorAll<HTMLElement>('.field[data-parameter]')];
  const names = pathOf(parameter, message).split('.');
  const paths = names.map((_, i) => names.slice(0, names.length - i).join('.')); // the longest first
  return paths
    .flatMap((path) => [
      ...fields.filter(({ dataset }) => dataset['parameter'] === path),
      ...fields.filter(({ dataset }) => dataset['parameter']?.startsWith(`${path}.`)),
    ])
    .at(0);
}

/** `lora.weight` → `lora[1].weight`: parameters come without a number, so the message has to say it, or name the entry's model first. */
function pathOf(parameter: string, message: string): string {
  const [list = '', ...rest] = parameter.split('.');
  const entries = [...document.querySelectorAll<HTMLElement>(`[data-entry^="${CSS.escape(list)}["]`)];
  const numbered = entries.find(({ dataset }) => message.includes(dataset['entry'] ?? ''));
  const named = entries
    .map((element) => ({ element, model: element.dataset['model'] ?? '' }))
    .map(({ element, model }) => ({ element, model, at: model === '' ? -1 : message.indexOf(model) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at || b.model.length - a.model.length)[0]?.element;
  const entry = (numbered ?? named ?? entries[0])?.dataset['entry'];
  return [entry ?? list, ...rest].join('.');
}

function errorId(control: Element): string {
  return `${control.id}-error`;
}

/** Ties a control to its error, or unties it. A help text that describes it too stays. */
function describeBy(control: Element, isWrong: boolean): void {
  const id = errorId(control);
  const others = (control.getAttribute('aria-describedby') ?? '')
    .split(' ')
    .filter((other) => !['', id].includes(other));
  const ids = isWrong ? [...others, id] : others;
  if (ids.length === 0) control.removeAttribute('aria-describedby');
  else control.setAttribute('aria-describedby', ids.join(' '));
}

function withHint({ message, hint }: Problem): string {
  return hint === undefined ? message : `${message} ${hint}`;
}

function describe({ code, message, hint }: Problem): HTMLElement {
  const line = make('p', {}, message, ' ', make('code', {}, code));
  if (hint !== undefined) line.append(make('span', { className: 'hint' }, hint));
  return line;
}
