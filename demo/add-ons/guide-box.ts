/** @file What one sees of a guide: the picture, the ways to choose it, a line of words. */
import { make } from '../dom.js';
import { makeButton } from '../fields.js';

export interface GuideBox {
  readonly field: HTMLElement;
  /** The visitor chooses a file with it. */
  readonly file: HTMLInputElement;
  /** A picture and words about it, which may need its size. Nothing for what the browser cannot show. */
  show(blob: Blob, words: (width: number, height: number) => string): void;
  hide(): void;
  say(words: string): void;
}

export function makeGuideBox(id: string, onTakeShown: () => void): GuideBox {
  const sheet = make('img', { alt: 'Guide', hidden: true });
  const status = make('p', { className: 'aside', role: 'status' });
  const file = make('input', { type: 'file', id: `${id}-picture`, className: 'hidden', accept: 'image/*' });
  file.setAttribute('aria-label', 'Guide picture');
  const choose = make('label', { htmlFor: file.id, className: 'button' }, 'Picture…');
  const ways = make(
    'div',
    { className: 'guide-ways' },
    make('div', { className: 'row' }, file, choose, makeButton('Use the shown one', onTakeShown)),
    make('p', { className: 'aside' }, 'Or drop one here, or paste it.'),
    status,
  );
  const title = make('p', { className: 'label' }, 'Guide picture ', make('span', { className: 'aside' }, 'guideImage'));
  const box = make('div', { className: 'guide-box' }, sheet, ways);

  function say(words: string): void {
    status.textContent = words;
  }

  function hide(): void {
    URL.revokeObjectURL(sheet.src);
    sheet.removeAttribute('src');
    sheet.hidden = true;
    say('');
  }

  return {
    field: make('div', { className: 'field guide', 'data-part': 'guideImage' }, title, box),
    file,
    show(blob, words) {
      hide();
      const url = URL.createObjectURL(blob);
      const isLast = (): boolean => sheet.src === url;
      sheet.src = url;
      void sheet.decode().then(
        () => {
          if (!isLast()) return;
          sheet.hidden = false;
          say(words(sheet.naturalWidth, sheet.naturalHeight));
        },
        () => undefined, // another one took its place, or it is no picture
      );
    },
    hide,
    say,
  };
}
