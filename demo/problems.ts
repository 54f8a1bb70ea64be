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
  const first = document.querySelector<HTMLElement>('[aria-invalid="true"]') ?? (rest.length > 0 ? list : undefined);
  first?.closest('details')?.setAttribute('open', '');
  first?.focus();
}

export function clearProblems(): void {
  for (const field of document.querySelectorAll('.field .error')) field.remove();
  for (const control of document.querySelectorAll('[aria-invalid]')) {
    control.removeAttribute('aria-invalid');
    describeBy(control, false);
  }
  const list = find('problems', HTMLElement);
  list.hidden = true;
  list.replaceChildren();
}

/** False where the page has no field for it. */
function showBesideField(problem: Problem): boolean {
  const field = problem.parameter === undefined ? undefined : fieldOf(problem.parameter);
  const control = field?.querySelector(':is(input, select, textarea)[id]');
  if (field === undefined || control === null || control === undefined) return false;
  const id = errorId(control);
  const earlier = document.getElementById(id);
  const text = withHint(problem);
  if (earlier !== null) earlier.textContent += ` ${text}`;
  else field.append(make('p', { id, className: 'error', role: 'alert' }, text));
  control.setAttribute('aria-invalid', 'true');
  describeBy(control, true);
  return true;
}

/** `refiner.startStep` has a field of its own, `lora[0].weight` belongs to that of `lora`, and `refiner` to the first of its parts. */
function fieldOf(parameter: string): HTMLElement | undefined {
  const fields = [...document.querySelectorAll<HTMLElement>('.field[data-parameter]')];
  const names = parameter.replaceAll(/\[\d+\]/g, '').split('.');
  const paths = names.map((_, i) => names.slice(0, names.length - i).join('.')); // the longest first
  return paths
    .flatMap((path) => [
      ...fields.filter(({ dataset }) => dataset['parameter'] === path),
      ...fields.filter(({ dataset }) => dataset['parameter']?.startsWith(`${path}.`)),
    ])
    .at(0);
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
