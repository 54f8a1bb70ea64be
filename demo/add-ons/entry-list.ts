/** @file A list of entries that are added and removed one by one, such as `lora[]`. Entries that are empty are not part of a request. */
import { announce, find, make } from '../dom.js';
import { makeButton } from '../fields.js';

/** One entry of a list, on the page. */
export interface Entry<T> {
  /** Its fields have `data-part`, the parameter's name within the entry. */
  readonly fields: readonly HTMLElement[];
  /** `undefined` where nothing is filled in. */
  read(): T | undefined;
  /** Called once, with the element that holds the fields. */
  mounted?(element: HTMLElement): void;
  /** Called once, when it was removed. */
  dispose?(): void;
}

export interface EntryList<T, E extends Entry<T>> {
  readonly entries: readonly E[];
  add(value?: T): E;
  /** Entries that are filled in. Names their fields after their places, for errors: `lora[0].weight`. */
  read(): readonly T[];
  /** Replaces all entries. */
  write(values: readonly T[]): void;
}

export interface ListOptions<T, E extends Entry<T>> {
  /** The parameter: `lora`. The page has a list `lora-entries` and a button `add-lora`. */
  readonly name: string;
  /** For people: "LoRA". */
  readonly noun: string;
  /** @param id unique, starts the ids of its fields */
  readonly create: (id: string, value: T | undefined) => E;
  /** After entries came or went. */
  readonly onChange: () => void;
}

export function createEntryList<T extends { readonly model: string }, E extends Entry<T>>(
  options: ListOptions<T, E>,
): EntryList<T, E> {
  const { name, noun, create, onChange } = options;
  const list = find(`${name}-entries`, HTMLElement);
  const addButton = find(`add-${name}`, HTMLButtonElement);
  const shown: { readonly entry: E; readonly element: HTMLElement }[] = [];
  let made = 0;

  function add(value?: T): E {
    const id = `${name}-${++made}`;
    const entry = create(id, value);
    const remove = makeButton('Remove', () => removeByHand(entry));
    const head = make('div', { className: 'entry-head' }, make('h3', { id: `${id}-title` }), remove);
    const group = make('div', { role: 'group', 'aria-labelledby': `${id}-title` }, head, ...entry.fields);
    const element = make('li', { className: 'entry' }, group);
    shown.push({ entry, element });
    list.append(element);
    entry.mounted?.(element);
    renumber();
    return entry;
  }

  function remove(entry: E): void {
    const at = shown.findIndex((one) => one.entry === entry);
    const [gone] = shown.splice(at, 1);
    gone?.element.remove();
    entry.dispose?.();
    renumber();
  }

  /** The focus goes to the next entry, or where entries are added. */
  function removeByHand(entry: E): void {
    const at = shown.findIndex((one) => one.entry === entry);
    remove(entry);
    announce(`${noun} ${at + 1} removed.`);
    (shown[at]?.element.querySelector<HTMLElement>('.entry-head button') ?? addButton).focus();
  }

  function renumber(): void {
    for (const [i, { element }] of shown.entries()) {
      const title = `${noun} ${i + 1}`;
      element.querySelector('h3')?.replaceChildren(title);
      element.querySelector('.entry-head button')?.setAttribute('aria-label', `Remove ${title}`);
    }
    list.hidden = shown.length === 0;
    onChange();
  }

  addButton.addEventListener('click', () => {
    add();
    shown.at(-1)?.element.querySelector<HTMLElement>('.field :is(input, select)')?.focus();
  });

  return {
    get entries() {
      return shown.map(({ entry }) => entry);
    },
    add,
    read() {
      const values: T[] = [];
      for (const { entry, element } of shown) {
        const value = entry.read();
        nameFields(element, value && { place: `${name}[${values.length}]`, model: value.model });
        if (value !== undefined) values.push(value);
      }
      return values;
    },
    write(values) {
      for (const { entry } of [...shown]) remove(entry);
      for (const value of values) add(value);
    },
  };
}

/** Tells `problems.ts` which parameters the fields stand for; those of an empty entry stand for none. */
function nameFields(element: HTMLElement, as: { readonly place: string; readonly model: string } | undefined): void {
  const { dataset } = element;
  delete dataset['entry'];
  delete dataset['model'];
  if (as !== undefined) Object.assign(dataset, { entry: as.place, model: as.model });
  for (const field of element.querySelectorAll<HTMLElement>('[data-part]')) {
    if (as === undefined) delete field.dataset['parameter'];
    else field.dataset['parameter'] = `${as.place}.${field.dataset['part'] ?? ''}`;
  }
}
