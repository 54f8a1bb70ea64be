/** @file Finding and making elements, with types that are checked at run time. */

/** The element with this id. Throws when the page has none, or one of another kind. */
export function find<T extends Element>(id: string, kind: abstract new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`The page has no ${kind.name} with the id "${id}".`);
}

/** Makes an element: properties as in the DOM, `aria-…` and `data-…` as attributes; children are nodes or text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Readonly<Record<string, unknown>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, String(value));
    else Reflect.set(element, name, value);
  }
  element.append(...children);
  return element;
}

/** Chooses an option whatever its capitals; a value that the menu does not have is left alone. */
export function choose(id: string, value: string | number | undefined): void {
  const wanted = String(value).toLowerCase();
  const select = find(id, HTMLSelectElement);
  const option = [...select.options].find((candidate) => candidate.value.toLowerCase() === wanted);
  if (option !== undefined) select.value = option.value;
}

/** Says something to screen readers without moving the focus. */
export function announce(text: string): void {
  find('announcer', HTMLElement).textContent = text;
}

/** One line under the form, e.g. what was restored from a file. Empty text hides it. */
export function showMessage(text: string): void {
  const message = find('message', HTMLElement);
  message.textContent = text;
  message.hidden = text === '';
}
