/** @file The model menu: the bundled one, a folder or file of the visitor's, or an address. */
import { announce, find, make, showMessage } from './dom.js';
import { linkFilePicker, linkFolderPicker, type Source } from './open-files.js';
import { clearProblems, problemsOf, showProblems } from './problems.js';
import { readFluxDetails } from './flux.js';
import type { Shelf } from './shelf.js';

const TINYWORLD = 'darkroom:1@1';

/** What suits the bundled model; other models choose for themselves where a field is empty. */
const TINYWORLD_SETTINGS = { width: '128', height: '128', steps: '20', CFGScale: '4.5' } as const;

export interface Models {
  /** Opens the chosen model again, or the one that could not be opened last: what is said of it has changed. */
  reopen(): void;
}

export function setUpModels(shelf: Shelf): Models {
  const menu = find('model', HTMLSelectElement);
  /** What was opened here, by the name that requests use. */
  const opened = new Map<string, Source>();
  let failed: { readonly name: string; readonly source: Source } | undefined;
  offer(TINYWORLD, 'Tinyworld, bundled');
  useSettings(TINYWORLD);
  menu.addEventListener('change', () => useSettings(menu.value));

  /** Makes a model one of the menu's, and of the suggestions of fields that name one. */
  function offer(name: string, label = name): void {
    shelf.list('model', name, label);
    if ([...menu.options].every((option) => option.value !== name)) menu.append(make('option', { value: name }, label));
  }

  /** Without a source the name says where the model is. */
  async function add(given: string, source: Source | undefined): Promise<void> {
    try {
      clearProblems();
      failed = source === undefined ? undefined : { name: given, source };
      const name = source === undefined ? given : await shelf.openModel(given, source, readFluxDetails());
      failed = undefined;
      if (source !== undefined) opened.set(name, source);
      offer(name);
      const other = menu.value !== name;
      menu.value = name;
      if (other) useSettings(name); // a model that is opened again keeps the size that was asked of it
      announce(`Model ${name} is chosen.`);
      showMessage('');
    } catch (error) {
      showProblems(problemsOf(error).map((problem) => ({ ...problem, parameter: 'model' })));
    }
  }

  linkFolderPicker(find('open-folder', HTMLButtonElement), find('folder-input', HTMLInputElement), add);
  linkFilePicker(find('open-file', HTMLButtonElement), find('file-input', HTMLInputElement), add);
  setUpAddress(add);
  return {
    reopen() {
      const name = failed?.name ?? menu.value;
      const source = failed?.source ?? opened.get(name);
      if (source !== undefined) void add(name, source);
    },
  };
}

/** `civitai:4384@128713` or `huggingface:owner/repo`, which need no registering; not a URL. */
function isAir(address: string): boolean {
  return address.includes(':') && !address.includes('://');
}

function setUpAddress(add: (name: string, source: Source | undefined) => Promise<void>): void {
  const button = find('open-url', HTMLButtonElement);
  const row = find('url-row', HTMLElement);
  const input = find('model-url', HTMLInputElement);
  const submit = (): void => {
    const address = input.value.trim();
    if (address !== '') void add(address, isAir(address) ? undefined : address);
  };
  button.addEventListener('click', () => {
    row.hidden = !row.hidden;
    button.setAttribute('aria-expanded', String(!row.hidden));
    if (!row.hidden) input.focus();
  });
  find('add-url', HTMLButtonElement).addEventListener('click', submit);
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    submit();
  });
}

/** Empty fields mean "the model's own": only the bundled model's numbers are known to this page. */
function useSettings(model: string): void {
  for (const [id, value] of Object.entries(TINYWORLD_SETTINGS)) {
    const input = find(id, HTMLInputElement);
    if (model === TINYWORLD) input.value = value;
    else if (input.value === value) input.value = '';
    input.dispatchEvent(new Event('input'));
  }
}
