/** @file The model menu: the bundled one, a folder or file of the visitor's, or an address. Files are read where they are; nothing is uploaded. */
import type { Darkroom } from '../src/index.js';
import { announce, find, make, showMessage } from './dom.js';
import { clearProblems, problemsOf, showProblems } from './problems.js';

const TINYWORLD = 'darkroom:1@1';

type Source = Parameters<Darkroom['registerModel']>[1];

/** What suits the bundled model; other models choose for themselves where a field is empty. */
const TINYWORLD_SETTINGS = { width: '128', height: '128', steps: '20', CFGScale: '4.5' } as const;

export function setUpModels(darkroom: Darkroom): void {
  const menu = find('model', HTMLSelectElement);
  const picker = find('folder-input', HTMLInputElement);
  list(TINYWORLD, 'Tinyworld, bundled');
  useSettings(TINYWORLD);
  menu.addEventListener('change', () => useSettings(menu.value));

  /** Without a source the name says where the model is. */
  async function add(name: string, source: Source | undefined): Promise<void> {
    try {
      clearProblems();
      if (source !== undefined) await darkroom.registerModel(name, source);
      list(name, name);
      menu.value = name;
      useSettings(name);
      announce(`Model ${name} is chosen.`);
      showMessage('');
    } catch (error) {
      showProblems(problemsOf(error).map((problem) => ({ ...problem, parameter: 'model' })));
    }
  }

  find('open-folder', HTMLButtonElement).addEventListener('click', () => {
    if (!hasDirectoryPicker(window)) return picker.click();
    window.showDirectoryPicker({ id: 'models' }).then(
      (folder) => add(folder.name, folder),
      () => undefined, // the visitor closed the dialog
    );
  });
  picker.addEventListener('change', () => {
    const [first] = picker.files ?? [];
    if (first === undefined || picker.files === null) return;
    void add(first.webkitRelativePath.split('/')[0] ?? first.name, [...picker.files]).then(() => (picker.value = ''));
  });
  const file = find('file-input', HTMLInputElement);
  find('open-file', HTMLButtonElement).addEventListener('click', () => file.click());
  file.addEventListener('change', () => {
    const [first] = file.files ?? [];
    if (first !== undefined) void add(first.name, first).then(() => (file.value = ''));
  });
  setUpAddress(add);
}

/** Makes a model one of the menu's and a suggestion of the fields that name another. */
function list(name: string, label: string): void {
  const menu = find('model', HTMLSelectElement);
  if ([...menu.options].some((option) => option.value === name)) return;
  menu.append(make('option', { value: name }, label));
  find('open-models', HTMLDataListElement).append(make('option', { value: name, label }));
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

interface WithDirectoryPicker {
  showDirectoryPicker(options: { readonly id: string }): Promise<FileSystemDirectoryHandle>;
}

function hasDirectoryPicker(target: object): target is WithDirectoryPicker {
  return 'showDirectoryPicker' in target;
}
