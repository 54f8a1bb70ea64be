/** @file A list of small pictures, each opening its print; owns the URLs of what it shows. */
import { make } from './dom.js';
import type { KeptPicture } from './history-store.js';

export interface Thumbnails {
  show(pictures: readonly KeptPicture[]): void;
  addFirst(picture: KeptPicture): void;
  addLast(picture: KeptPicture): void;
  remove(id: string): void;
  mark(id: string): void;
  readonly count: number;
}

export function createThumbnails(
  list: HTMLElement,
  onOpen: (picture: KeptPicture) => void,
  onDelete?: (picture: KeptPicture) => void,
): Thumbnails {
  const frames = new Map<string, { readonly frame: HTMLElement; readonly url: string }>();

  function frameOf(picture: KeptPicture): HTMLElement {
    const url = URL.createObjectURL(picture.blob);
    const title = `${picture.request.positivePrompt}, seed ${picture.seed}`;
    const open = make(
      'button',
      { type: 'button', className: 'thumb', title, 'aria-label': `Show: ${title}` },
      make('img', { src: url, alt: '', loading: 'lazy', decoding: 'async' }),
    );
    open.addEventListener('click', () => onOpen(picture));
    const frame = make('li', { className: 'frame' }, open);
    if (onDelete !== undefined) {
      const remove = make('button', { type: 'button', className: 'delete', 'aria-label': `Delete: ${title}` }, '×');
      remove.addEventListener('click', () => onDelete(picture));
      frame.append(remove);
    }
    frames.set(picture.id, { frame, url });
    return frame;
  }

  function remove(id: string): void {
    const entry = frames.get(id);
    if (entry === undefined) return;
    URL.revokeObjectURL(entry.url);
    entry.frame.remove();
    frames.delete(id);
  }

  return {
    show(pictures) {
      for (const id of [...frames.keys()]) remove(id);
      list.replaceChildren(...pictures.map(frameOf));
    },
    addFirst: (picture) => list.prepend(frameOf(picture)),
    addLast: (picture) => list.append(frameOf(picture)),
    remove,
    mark(id) {
      for (const [key, { frame }] of frames) {
        frame.querySelector('.thumb')?.setAttribute('aria-current', String(key === id));
      }
    },
    get count() {
      return frames.size;
    },
  };
}
