/** @file The guide picture of one ControlNet: chosen, dropped, pasted or taken from the stage; drawn by a preprocessor; shown. */
import type { Darkroom } from '../../src/index.js';
import { clearProblems, problemsOf, showAt } from '../problems.js';
import { describeProgress } from '../progress.js';
import type { Shelf } from '../shelf.js';
import type { GuidePicture } from './guide.js';
import { makeGuideBox } from './guide-box.js';
import { createGuideMaker } from './guide-maker.js';
import { makePreprocessorFields } from './preprocessor-fields.js';
import { takePictures } from './take-pictures.js';

export interface GuideField {
  readonly fields: readonly HTMLElement[];
  readonly isEmpty: boolean;
  /** Takes what is dropped or pasted inside this element too. */
  takeFrom(element: HTMLElement): void;
  choose(picture: GuidePicture): void;
  /** What requests say; empty while there is none. */
  imageUUID(): string;
  /** Draws what is not drawn yet. Resolves to false where that failed, as the field then says. */
  ready(): Promise<boolean>;
  cancel(): void;
  dispose(): void;
}

export interface GuideOptions {
  readonly darkroom: Darkroom;
  readonly shelf: Shelf;
  /** The picture on the stage, if there is one. */
  readonly shownPicture: () => GuidePicture | undefined;
}

export function makeGuideField(id: string, { darkroom, shelf, shownPicture }: GuideOptions): GuideField {
  let picture: GuidePicture | undefined;
  const box = makeGuideBox(id, takeShown);
  const maker = createGuideMaker(darkroom, {
    busy: (event) => box.say(event === undefined ? 'Working…' : describeProgress(event)),
    done: ({ blob, warnings }) =>
      box.show(blob, (width, height) => [`The guide is ${width} × ${height}.`, ...warnings].join(' ')),
    failed(error) {
      showUndrawn('');
      for (const problem of problemsOf(error)) showAt(fieldOf(problem.parameter), problem);
    },
    stopped: () => box.say(''),
  });
  const preprocessor = makePreprocessorFields(id, {
    shelf,
    onChange: wish,
    onDraw() {
      maker.forget();
      if (picture === undefined) box.say('Choose a picture first.');
      else void draw();
    },
  });
  const fields = [box.field, ...preprocessor.fields];

  /** Where an error of the drawing belongs. */
  function fieldOf(parameter: string | undefined): HTMLElement {
    return (parameter === undefined ? undefined : preprocessor.fieldOf(parameter)) ?? box.field;
  }

  /** What takes no network is drawn at once. */
  function wish(): void {
    maker.cancel();
    if (preprocessor.drawsAtOnce()) return void draw();
    for (const field of fields) clearProblems(field);
    showUndrawn('Not drawn yet.');
  }

  function showUndrawn(words: string): void {
    if (picture?.blob === undefined) box.hide();
    else box.show(picture.blob, () => words);
  }

  async function draw(): Promise<boolean> {
    if (picture === undefined) return true;
    for (const field of fields) clearProblems(field);
    return maker.make(picture, preprocessor.read());
  }

  function choose(chosen: GuidePicture): void {
    picture = chosen;
    wish();
  }

  function takeShown(): void {
    const shown = shownPicture();
    if (shown === undefined) box.say('There is no picture on the stage yet.');
    else choose(shown);
  }

  return {
    fields,
    get isEmpty() {
      return picture === undefined;
    },
    takeFrom: (element) => takePictures(element, box.file, (blob) => choose({ kind: 'file', blob })),
    choose,
    imageUUID: () => (picture && maker.guide(picture, preprocessor.read())?.imageUUID) ?? '',
    ready: draw,
    cancel: () => maker.cancel(),
    dispose() {
      maker.cancel();
      box.hide();
    },
  };
}
