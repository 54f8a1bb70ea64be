/** @file The preprocessors that run a network; a chunk of its own, loaded when the first of them is asked for. */
import type { RgbPicture } from '../../image/pixels.js';
import { scribble } from '../../image/preprocess/scribble.js';
import { depth } from './depth.js';
import { lineart, lineartAnime, softedge } from './edges.js';
import type { NeuralContext } from './networks.js';
import { openpose } from './pose.js';
import type { NeuralType } from './run.js';

/** @throws modelNotFound, what opening and running a network throws, unsupportedPreProcessorType */
export async function runNeural(
  picture: RgbPicture,
  { type, handsAndFace }: { readonly type: NeuralType; readonly handsAndFace: boolean },
  context: NeuralContext,
): Promise<RgbPicture> {
  switch (type) {
    case 'depth':
      return depth(picture, context);
    case 'openpose':
      return openpose(picture, handsAndFace, context);
    case 'softedge':
      return softedge(picture, context);
    case 'scribble':
      return scribble(await softedge(picture, context));
    case 'lineart':
      return lineart(picture, context);
    case 'lineart_anime':
      return lineartAnime(picture, context);
    default:
      return type satisfies never;
  }
}
