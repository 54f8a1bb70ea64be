/** @file Guides as the visitor changes their mind: only the last wish counts, and what is made is not made again. No view. */
import type { Darkroom, ProgressEvent } from '../../src/index.js';
import { makeGuide, type Drawing, type Guide, type GuidePicture } from './guide.js';

/** What a view is told; calls about wishes that were overtaken never come. */
export interface GuideView {
  busy(event: ProgressEvent | undefined): void;
  done(guide: Guide): void;
  failed(error: unknown): void;
  stopped(): void;
}

export interface GuideMaker {
  /** Resolves to whether there is a guide now; starts nothing where it is there or under way. */
  make(picture: GuidePicture, drawing: Drawing): Promise<boolean>;
  /** The guide of this wish, if it is there. */
  guide(picture: GuidePicture, drawing: Drawing): Guide | undefined;
  /** Makes it anew the next time. */
  forget(): void;
  cancel(): void;
}

interface Wish {
  readonly picture: GuidePicture;
  readonly drawing: string;
}

export function createGuideMaker(darkroom: Darkroom, view: GuideView): GuideMaker {
  let made: { readonly wish: Wish; readonly guide: Guide } | undefined;
  let making: { readonly wish: Wish; readonly abort: AbortController; readonly over: Promise<boolean> } | undefined;

  async function run(wish: Wish, drawing: Drawing, { signal }: AbortController): Promise<boolean> {
    const isLast = (): boolean => making?.wish === wish;
    try {
      const guide = await makeGuide(darkroom, wish.picture, drawing, {
        signal,
        onProgress: (event) => {
          if (isLast()) view.busy(event);
        },
      });
      if (!isLast()) return false;
      made = { wish, guide };
      making = undefined;
      view.done(guide);
      return true;
    } catch (error) {
      if (!isLast()) return false;
      making = undefined;
      view.failed(error);
      return false;
    }
  }

  return {
    make(picture, drawing) {
      const wish: Wish = { picture, drawing: JSON.stringify(drawing) };
      if (made !== undefined && isSame(made.wish, wish)) return Promise.resolve(true);
      if (making !== undefined && isSame(making.wish, wish)) return making.over;
      making?.abort.abort();
      const abort = new AbortController();
      view.busy(undefined);
      const over = Promise.resolve().then(() => run(wish, drawing, abort)); // not before `making` is set
      making = { wish, abort, over };
      return over;
    },
    guide: (picture, drawing) =>
      made !== undefined && isSame(made.wish, { picture, drawing: JSON.stringify(drawing) }) ? made.guide : undefined,
    forget: () => (made = undefined),
    cancel() {
      if (making === undefined) return;
      making.abort.abort();
      making = undefined;
      view.stopped();
    },
  };
}

function isSame(a: Wish, b: Wish): boolean {
  return a.picture === b.picture && a.drawing === b.drawing;
}
