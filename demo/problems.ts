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
    control.removeAttribute('aria-describedby');
  }
  const list = find('problems', HTMLElement);
  list.hidden = true;
  list.replaceChildren();
}

/** `width` and `lora[0].weight` belong to the fields `width` and `lora`. False where the page has no such field. */
function showBesideField(problem: Problem): boolean {
  const parameter = problem.parameter?.split(/[[.]/)[0];
  const control = parameter === undefined ? null : document.getElementById(parameter);
  const field = control?.closest('.field');
  if (control === null || field === null || field === undefined) return false;
  const id = `${control.id}-error`;
  const earlier = document.getElementById(id);
  const text = withHint(problem);
  if (earlier !== null) earlier.textContent += ` ${text}`;
  else field.append(make('p', { id, className: 'error', role: 'alert' }, text));
  control.setAttribute('aria-invalid', 'true');
  control.setAttribute('aria-describedby', id);
  return true;
}

function withHint({ message, hint }: Problem): string {
  return hint === undefined ? message : `${message} ${hint}`;
}

function describe({ code, message, hint }: Problem): HTMLElement {
  const line = make('p', {}, message, ' ', make('code', {}, code));
  if (hint !== undefined) line.append(make('span', { className: 'hint' }, hint));
  return line;
}
