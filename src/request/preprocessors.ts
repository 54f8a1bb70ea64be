/**
 * @file The names of ControlNet preprocessors. The cloud takes twelve; its JavaScript SDK has finer names, which stand for the same twelve
 * (https://github.com/Runware/sdk-js, `EPreProcessor` and `getPreprocessorType`). Data and one look-up.
 */

/** The cloud's twelve, and two of our own that cost nothing: `blur` and `gray`. */
export const PREPROCESSOR_TYPES = [
  'canny',
  'depth',
  'mlsd',
  'normalbae',
  'openpose',
  'tile',
  'seg',
  'lineart',
  'lineart_anime',
  'shuffle',
  'scribble',
  'softedge',
  'blur',
  'gray',
] as const;

export type PreProcessorType = (typeof PREPROCESSOR_TYPES)[number];

/** The SDK's finer names → what they stand for. */
const FINER: Readonly<Record<string, PreProcessorType>> = {
  depth_leres: 'depth',
  depth_midas: 'depth',
  depth_zoe: 'depth',
  inpaint_global_harmonious: 'depth',
  lineart_coarse: 'lineart',
  lineart_realistic: 'lineart',
  lineart_standard: 'lineart',
  normal_bae: 'normalbae',
  openpose_face: 'openpose',
  openpose_faceonly: 'openpose',
  openpose_full: 'openpose',
  openpose_hand: 'openpose',
  scribble_hed: 'scribble',
  scribble_pidinet: 'scribble',
  seg_ofade20k: 'seg',
  seg_ofcoco: 'seg',
  seg_ufade20k: 'seg',
  softedge_hed: 'softedge',
  softedge_hedsafe: 'softedge',
  softedge_pidinet: 'softedge',
  softedge_pidisafe: 'softedge',
  tile_gaussian: 'tile',
};

/** The type that a name stands for, in any capitals; `undefined` for a name that nobody knows (the SDK takes those for `canny`). */
export function resolvePreprocessor(name: string): PreProcessorType | undefined {
  const wanted = name.toLowerCase();
  return (
    PREPROCESSOR_TYPES.find((type) => type === wanted) ?? (Object.hasOwn(FINER, wanted) ? FINER[wanted] : undefined)
  );
}
