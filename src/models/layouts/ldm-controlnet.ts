/** @file A ControlNet in the layout of the original code (lllyasviel/ControlNet, `cldm/cldm.py`): a UNet's first half and what is its own. */
import { sameShape, type WeightLayout, type WeightPlace } from './layout.js';
import { ldmUNetLayout, readLdmUNetBlocks, type LdmUNetBlocks } from './ldm-unet.js';

/** What the numbering depends on. */
export interface LdmControlNetBlocks extends LdmUNetBlocks {
  /** Index of the last convolution of the guide's embedding; between them are activations. */
  readonly lastHint: number;
}

const HINT = /^input_hint_block\.(\d{1,4})\.weight$/;

/** From names without prefix; `undefined` when they are not those of a ControlNet, or its levels differ in length. */
export function readLdmControlNetBlocks(names: Iterable<string>): LdmControlNetBlocks | undefined {
  const all = [...names];
  const blocks = readLdmUNetBlocks(all);
  const lastHint = all.reduce((last, name) => Math.max(last, Number(HINT.exec(name)?.[1] ?? -1)), -1);
  return blocks === undefined || lastHint < 0 ? undefined : { ...blocks, lastHint };
}

/** The layout of a ControlNet with such blocks, without prefix. */
export function ldmControlNetLayout(blocks: LdmControlNetBlocks): WeightLayout {
  const unet = ldmUNetLayout(blocks);
  return {
    places: (internal) => {
      const own = ownPlace(internal, blocks);
      return own === undefined ? unet.places(internal) : [own];
    },
    shape: sameShape,
  };
}

const OWN = /^controlnet_(cond_embedding|down_blocks|mid_block)\.(.*?)\.?(weight|bias)$/;

/** What a UNet does not have. */
function ownPlace(internal: string, { lastHint }: LdmControlNetBlocks): WeightPlace | undefined {
  const [, part, layer = '', leaf] = OWN.exec(internal) ?? [];
  switch (part) {
    case 'cond_embedding':
      return { name: `input_hint_block.${hintIndex(layer, lastHint)}.${leaf}` };
    case 'down_blocks':
      return { name: `zero_convs.${layer}.0.${leaf}` };
    case 'mid_block':
      return { name: `middle_block_out.0.${leaf}` };
    case undefined:
    default:
      return undefined;
  }
}

/** Index of a layer of the guide's embedding, whose last one is `last`: between them are activations. */
export function hintIndex(layer: string, last: number): number {
  if (layer === 'conv_in') return 0;
  return layer === 'conv_out' ? last : 2 * (Number(layer.replace(/^blocks\./, '')) + 1);
}
