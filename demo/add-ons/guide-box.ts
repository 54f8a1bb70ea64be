/** @file What one sees of a guide: the picture, the ways to choose it, a line of words. */
import { make } from '../dom.js';
import { makeButton } from '../fields.js';
import type { Guide } from './guide.js';

export interface GuideBox {
  readonly field: HTMLElement;
  /** The visitor chooses a file with it. */
  readonly file: HTMLInputElement;
  show(guide: Guide): void;
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
    sheet.hidden = true;
    say('');
  }

  return {
    field: make('div', { className: 'field guide', 'data-part': 'guideImage' }, title, box),
    file,
    show({ blob, warnings }) {
      hide();
      sheet.src = URL.createObjectURL(blob);
      sheet.hidden = false;
      void sheet.decode().then(
        () => say([`The guide is ${sheet.naturalWidth} × ${sheet.naturalHeight}.`, ...warnings].join(' ')),
        () => undefined, // another one took its place
      );
    },
    hide,
    say,
  };
}
