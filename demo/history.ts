/** @file The contact sheet: every picture made in this browser, kept across visits. */
import { announce, find, showMessage } from './dom.js';
import { openHistory, type HistoryStore, type KeptPicture } from './history-store.js';
import { createThumbnails } from './thumbnails.js';

export interface History {
  add(picture: KeptPicture): Promise<void>;
  mark(id: string): void;
}

/** Without IndexedDB the sheet lasts as long as the page, and says so. */
export async function setUpHistory(onOpen: (picture: KeptPicture) => void): Promise<History> {
  const store = await openHistory().catch(() => undefined);
  const list = find('history', HTMLElement);
  const sheet = createThumbnails(list, onOpen, (picture) => void drop(store, picture));
  const hint = find('history-empty', HTMLElement);
  const button = find('clear', HTMLButtonElement);
  const dialog = find('clear-dialog', HTMLDialogElement);
  if (store === undefined) hint.textContent = 'This browser keeps no data: pictures are gone when you leave the page.';

  function count(): void {
    hint.hidden = sheet.count > 0 && store !== undefined;
    button.hidden = sheet.count === 0;
    find('history-count', HTMLElement).textContent = sheet.count > 1 ? `${sheet.count} pictures` : '';
  }

  async function drop(from: HistoryStore | undefined, picture: KeptPicture): Promise<void> {
    await from?.delete(picture.id);
    sheet.remove(picture.id);
    count();
    announce('Picture deleted.');
    (list.querySelector<HTMLElement>('.thumb') ?? find('positivePrompt', HTMLElement)).focus();
  }

  button.addEventListener('click', () => {
    dialog.returnValue = 'keep';
    dialog.showModal();
  });
  dialog.addEventListener('close', () => {
    if (dialog.returnValue !== 'clear') return;
    void (store?.clear() ?? Promise.resolve()).then(() => {
      sheet.show([]);
      count();
      announce('The contact sheet is empty.');
    });
  });

  sheet.show((await store?.all()) ?? []);
  count();
  return {
    async add(picture) {
      sheet.addFirst(picture);
      count();
      await store?.add(picture).catch((error: unknown) => {
        showMessage(
          `This picture could not be kept: ${error instanceof Error ? error.message : 'the browser refused'}.`,
        );
      });
    },
    mark: (id) => sheet.mark(id),
  };
}
