/** @file The preprocessors that the page offers: names as requests have them, and what they need. Data only. */
import type { Darkroom } from '../../src/index.js';

type PreprocessRequest = Parameters<Darkroom['controlNetPreprocess']>[0];

/** `none`: the picture is a guide already. */
export const NONE = 'none';

/** What draws at once, since it needs no network. */
export const SIMPLE = {
  canny: 'canny: edges, one pixel wide',
  blur: 'blur: without fine details',
  gray: 'gray: without colours',
  tile: 'tile: in coarse pixels',
  shuffle: 'shuffle: its colours and textures, elsewhere',
} as const satisfies Partial<Record<NonNullable<PreprocessRequest['preProcessorType']>, string>>;

export interface Neural {
  readonly label: string;
  /** What its network is registered as, where it is not the public one. */
  readonly network: string;
  readonly needs: string;
}

const TO_REGISTER = 'Its network has to be opened here once per visit; docs/guide/preprocessors.md says from where.';
const SOFTEDGE = { network: 'darkroom:softedge@1', needs: TO_REGISTER } as const;

/** What draws when it is asked to, since its network has to be fetched. */
export const NEURAL = {
  depth: {
    label: 'depth: near is bright',
    network: 'darkroom:depth@1',
    needs: 'Its network (99 MB) comes from the Hugging Face Hub, unless another one is opened here.',
  },
  openpose: {
    label: 'openpose: a person’s skeleton',
    network: 'darkroom:openpose@1',
    needs: 'Its network (360 MB) comes from the Hugging Face Hub, unless another one is opened here.',
  },
  softedge: { label: 'softedge: soft edges', ...SOFTEDGE },
  scribble: { label: 'scribble: thick strokes', ...SOFTEDGE },
  lineart: { label: 'lineart: a drawing’s lines', network: 'darkroom:lineart@1', needs: TO_REGISTER },
  lineart_anime: { label: 'lineart_anime: lines of anime', network: 'darkroom:lineart-anime@1', needs: TO_REGISTER },
} as const satisfies Partial<Record<NonNullable<PreprocessRequest['preProcessorType']>, Neural>>;

/** `undefined` for what needs no network. */
export function neuralOf(type: string): Neural | undefined {
  return Object.entries(NEURAL).find(([name]) => name === type)?.[1];
}
