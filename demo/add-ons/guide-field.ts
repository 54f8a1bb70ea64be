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
    done: (guide) => box.show(guide),
    failed(error) {
      box.hide();
      for (const problem of problemsOf(error)) showAt(fieldOf(problem.parameter), problem);
    },
    stopped: () => box.say(''),
  });
  const preprocessor = makePreprocessorFields(id, {
    shelf,
    onChange(atOnce) {
      maker.cancel();
      if (atOnce) void draw();
      else box.hide();
    },
    onDraw() {
      maker.forget();
      if (picture === undefined) box.say('Choose a picture first.');
      void draw();
    },
  });
  const fields = [box.field, ...preprocessor.fields];

  /** Where an error of the drawing belongs. */
  function fieldOf(parameter: string | undefined): HTMLElement {
    return (parameter === undefined ? undefined : preprocessor.fieldOf(parameter)) ?? box.field;
  }

  async function draw(): Promise<boolean> {
    if (picture === undefined) return true;
    for (const field of fields) clearProblems(field);
    return maker.make(picture, preprocessor.read());
  }

  function choose(chosen: GuidePicture): void {
    picture = chosen;
    void draw();
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
