/** @file Opening a file or a folder of this machine. Files are read where they are; nothing is uploaded. */
import type { Darkroom } from '../src/index.js';
import { make } from './dom.js';
import { makeButton } from './fields.js';

/** Where a model's files are. */
export type Source = Parameters<Darkroom['registerModel']>[1];

/** What was picked, under the name of the file or folder. */
export type OnPick = (name: string, source: Source) => Promise<void>;

/** Several files, where the input takes them, are one thing with the name of the largest. The same file can be picked again afterwards. */
export function linkFilePicker(button: HTMLButtonElement, input: HTMLInputElement, onPick: OnPick): void {
  button.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])];
    const largest = files.toSorted((a, b) => b.size - a.size)[0];
    if (largest === undefined) return;
    void onPick(largest.name, files.length === 1 ? largest : files).then(() => (input.value = ''));
  });
}

/** With the browser's picker of folders where it has one, which reads no file before it is needed. */
export function linkFolderPicker(button: HTMLButtonElement, input: HTMLInputElement, onPick: OnPick): void {
  button.addEventListener('click', () => {
    if (!hasDirectoryPicker(window)) return input.click();
    window.showDirectoryPicker({ id: 'models' }).then(
      (folder) => onPick(folder.name, folder),
      () => undefined, // the visitor closed the dialog
    );
  });
  input.addEventListener('change', () => {
    const [first] = input.files ?? [];
    if (first === undefined || input.files === null) return;
    const name = first.webkitRelativePath.split('/')[0] ?? first.name;
    void onPick(name, [...input.files]).then(() => (input.value = ''));
  });
}

/**
 * Two buttons, for a file and for a folder.
 * @param what names both for screen readers, e.g. "VAE"
 */
export function makeOpeners(what: string, onPick: OnPick): readonly HTMLElement[] {
  const file = make('input', { type: 'file', accept: '.safetensors', hidden: true, 'aria-label': `${what} file` });
  const folder = make('input', {
    type: 'file',
    webkitdirectory: true,
    multiple: true,
    hidden: true,
    'aria-label': `${what} folder`,
  });
  const openFile = makeButton('File…', () => undefined, `Open a ${what} file…`);
  const openFolder = makeButton('Folder…', () => undefined, `Open a ${what} folder…`);
  linkFilePicker(openFile, file, onPick);
  linkFolderPicker(openFolder, folder, onPick);
  return [openFile, openFolder, file, folder];
}

interface WithDirectoryPicker {
  showDirectoryPicker(options: { readonly id: string }): Promise<FileSystemDirectoryHandle>;
}

function hasDirectoryPicker(target: object): target is WithDirectoryPicker {
  return 'showDirectoryPicker' in target;
}
