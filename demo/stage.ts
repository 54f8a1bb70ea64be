/** @file The print: a preview that sharpens step by step, the picture that takes its place, and its particulars below. */
import type { PreviewEvent } from '../src/index.js';
import { announce, find, make } from './dom.js';
import { makeButton } from './fields.js';
import type { KeptPicture } from './history-store.js';

export interface Stage {
  /** An empty sheet of this shape, or nothing to be seen yet where the model decides the shape. */
  startPrint(width: number | undefined, height: number | undefined): void;
  showPreview(preview: PreviewEvent): void;
  showPicture(picture: KeptPicture): void;
  /** The last picture that was shown. */
  shown(): KeptPicture | undefined;
  /** Back to what was there before the run; called when it failed or was cancelled. */
  stopPrint(): void;
}

export interface StageActions {
  readonly reuseSeed: (seed: string) => void;
  readonly reuseSettings: (picture: KeptPicture) => void;
  readonly useAsGuide: (picture: KeptPicture) => void;
}

export function createStage(actions: StageActions): Stage {
  const print = find('print', HTMLElement);
  const canvas = find('preview', HTMLCanvasElement);
  const image = find('picture', HTMLImageElement);
  const details = find('details', HTMLElement);
  let shown: KeptPicture | undefined;
  let url: string | undefined;
  let turn = 0; // of what is shown; a picture that is decoded too late must not change what came after it

  function shape(width: number, height: number): void {
    print.style.setProperty('--ratio', String(width / height));
  }

  function clear(): void {
    canvas.getContext('2d')?.clearRect(0, 0, canvas.width, canvas.height);
    image.hidden = true;
    details.hidden = true;
    if (url !== undefined) URL.revokeObjectURL(url);
    url = undefined;
  }

  function showPicture(picture: KeptPicture): void {
    if (url !== undefined) URL.revokeObjectURL(url);
    url = URL.createObjectURL(picture.blob);
    shown = picture;
    const mine = ++turn;
    const fadeIn = (): void => {
      if (turn === mine) print.dataset['state'] = 'done';
    };
    shape(picture.width, picture.height);
    image.hidden = false;
    image.alt = picture.request.positivePrompt;
    image.src = url;
    details.replaceChildren(...describe(picture, url, actions));
    details.hidden = false;
    void image.decode().then(fadeIn, fadeIn);
  }

  return {
    startPrint(width, height) {
      turn++;
      clear();
      if (width !== undefined && height !== undefined && width > 0 && height > 0) shape(width, height);
      print.dataset['state'] = 'developing';
    },
    showPreview({ width, height, rgba }) {
      turn++;
      print.dataset['state'] = 'developing';
      image.hidden = true;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      shape(width, height);
      canvas.getContext('2d')?.putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0);
    },
    showPicture,
    shown: () => shown,
    stopPrint() {
      if (print.dataset['state'] !== 'developing') return;
      if (shown !== undefined) showPicture(shown);
      else print.dataset['state'] = 'empty';
    },
  };
}

function describe(
  picture: KeptPicture,
  url: string,
  { reuseSeed, reuseSettings, useAsGuide }: StageActions,
): readonly HTMLElement[] {
  const { request, seed } = picture;
  const facts = [
    `Seed ${seed}`,
    `${picture.width} × ${picture.height}`,
    `${(picture.tookMs / 1000).toFixed(1)} s on the ${picture.backend === 'webgpu' ? 'GPU' : 'CPU'}`,
    new Date(picture.createdMs).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }),
  ];
  const download = make('a', { className: 'button', href: url, download: fileName(picture) }, 'Download');
  return [
    make('p', { className: 'caption' }, request.positivePrompt),
    make(
      'ul',
      { className: 'facts', 'aria-label': 'About this picture' },
      ...facts.map((fact) => make('li', {}, fact)),
    ),
    ...picture.warnings.map((warning) => make('p', { className: 'warning' }, warning)),
    make(
      'div',
      { className: 'row' },
      download,
      copyButton(seed),
      makeButton('Reuse seed', () => reuseSeed(seed)),
      makeButton('Reuse settings', () => reuseSettings(picture)),
      makeButton('Use as guide', () => useAsGuide(picture)),
    ),
  ];
}

function copyButton(seed: string): HTMLButtonElement {
  const copy = makeButton('Copy seed', () => {
    navigator.clipboard.writeText(seed).then(
      () => say('Copied'),
      () => say(`Not allowed: ${seed}`),
    );
  });
  function say(text: string): void {
    copy.textContent = text;
    announce(text);
    setTimeout(() => (copy.textContent = 'Copy seed'), 1600);
  }
  return copy;
}

/** `a-red-house-1234.png`. */
function fileName({ request, seed, blob }: KeptPicture): string {
  const words = request.positivePrompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ['picture'];
  const extension = blob.type === 'image/jpeg' ? 'jpg' : blob.type.replace('image/', '');
  return `${words.slice(0, 6).join('-').slice(0, 60)}-${seed}.${extension}`;
}
