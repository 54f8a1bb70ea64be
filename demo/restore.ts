/** @file Dropping or pasting a picture, or a parameters text, anywhere on the page puts its settings back into the form. */
import { readPictureRequest } from '../src/index.js';
import { announce, find, showMessage } from './dom.js';
import type { Settings } from './form.js';
import { clearProblems, problemsOf, showProblems } from './problems.js';
import type { Shelf } from './shelf.js';

export function setUpRestore(write: (settings: Settings) => void, shelf: Shelf): void {
  const overlay = find('drop', HTMLElement);

  async function restore(source: File | string): Promise<void> {
    clearProblems();
    try {
      const name = typeof source === 'string' ? 'the pasted text' : source.name;
      const restored = await readPictureRequest(source);
      if (restored === undefined) return showMessage(`There are no settings in ${name}.`);
      write(restored.request);
      const unused = restored.ignored.length === 0 ? '' : ` Not used here: ${restored.ignored.join(', ')}.`;
      showMessage(`Settings restored from ${name}.${modelNote(restored.request, shelf)}${unused}`);
      announce('Settings restored.');
    } catch (error) {
      showProblems(problemsOf(error));
    }
  }

  document.addEventListener('dragover', (event) => {
    if (event.dataTransfer?.types.includes('Files') !== true) return;
    overlay.toggleAttribute('data-on', !event.defaultPrevented); // a guide takes it itself
    event.preventDefault();
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) overlay.removeAttribute('data-on');
  });
  document.addEventListener('drop', (event) => {
    overlay.removeAttribute('data-on');
    const [file] = event.dataTransfer?.files ?? [];
    if (file === undefined || event.defaultPrevented) return;
    event.preventDefault();
    void restore(file);
  });
  document.addEventListener('paste', (event) => {
    if (event.defaultPrevented) return;
    const [file] = event.clipboardData?.files ?? [];
    const text = event.clipboardData?.getData('text') ?? '';
    if (file !== undefined) {
      event.preventDefault();
      void restore(file);
    } else if (/^Steps: \d+, /m.test(text)) {
      event.preventDefault(); // a parameters text, not words for the field that has the focus
      void restore(text);
    }
  });
}

/** A picture may come from models that are not open on this page. All but the model are fetched, where their names say from where. */
function modelNote(settings: Settings, shelf: Shelf): string {
  const { model, vae, refiner, lora = [], embeddings = [], controlNet = [] } = settings;
  const named: readonly (readonly [what: string, name: string | undefined])[] = [
    ['model', model],
    ['VAE', vae],
    ['refiner', refiner?.model],
    ...lora.map((one) => ['LoRA', one.model] as const),
    ...embeddings.map((one) => ['embedding', one.model] as const),
    ...controlNet.map((one) => ['ControlNet', one.model] as const),
  ];
  const missing = named.filter(([, name]) => name !== undefined && !shelf.has(name));
  return missing.map(([what, name]) => ` It was made with the ${what} ${name}, which is not open here.`).join('');
}
