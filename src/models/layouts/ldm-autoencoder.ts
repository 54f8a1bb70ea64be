/** @file The AutoencoderKL of a single-file checkpoint or VAE file: names of the original code (CompVis/latent-diffusion, `ldm/modules/diffusionmodules/model.py`). */
import { withoutKernel, type WeightLayout } from './layout.js';

const UP_LEVEL = /^decoder\.up\.(\d{1,4})\.block\.0\.conv1\.weight$/;

/** How many resolutions a file has, from its names (without prefix); 0 when it is no such file. */
export function readLdmAutoencoderLevels(names: Iterable<string>): number {
  let levels = 0;
  for (const name of names) levels = Math.max(levels, Number(UP_LEVEL.exec(name)?.[1] ?? -1) + 1);
  return levels;
}

const ATTENTION = new Map([
  ['group_norm', 'norm'],
  ['to_q', 'q'],
  ['to_k', 'k'],
  ['to_v', 'v'],
  ['to_out.0', 'proj_out'],
]);

const LAYER = /^(quant_conv|post_quant_conv|(encoder|decoder)\.(.+))\.(weight|bias)$/;
const MIDDLE = /^mid_block\.(resnets|attentions)\.(\d+)\.(.+)$/;
const BLOCK = /^(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)$/;
const ATTENTION_MATRIX = /\.mid_block\.attentions\.0\.to_(q|k|v|out\.0)\.weight$/;

/** The layout of an autoencoder of `levels` resolutions, without prefix. Its attention is made of 1×1 convolutions. */
export function ldmAutoencoderLayout(levels: number): WeightLayout {
  return {
    places: (internal) => {
      const [, whole, side, layer, leaf] = LAYER.exec(internal) ?? [];
      if (whole === undefined) return [];
      const name = side === undefined || layer === undefined ? whole : pathInside(side, layer, levels);
      return name === undefined ? [] : [{ name: `${name}.${leaf}` }];
    },
    shape: (internal, stored) => (ATTENTION_MATRIX.test(internal) ? withoutKernel(stored) : stored),
  };
}

/** @param side `encoder` or `decoder` */
function pathInside(side: string, layer: string, levels: number): string | undefined {
  if (layer === 'conv_in' || layer === 'conv_out') return `${side}.${layer}`;
  if (layer === 'conv_norm_out') return `${side}.norm_out`;

  const [, part, index, inMiddle = ''] = MIDDLE.exec(layer) ?? [];
  if (part === 'resnets') return `${side}.mid.block_${Number(index) + 1}.${shortcut(inMiddle)}`;
  if (part === 'attentions') {
    const name = ATTENTION.get(inMiddle);
    return name === undefined || index !== '0' ? undefined : `${side}.mid.attn_1.${name}`;
  }

  const [, direction, block, kind, item, inBlock = ''] = BLOCK.exec(layer) ?? [];
  if (direction === undefined) return undefined;
  // "up" is numbered by resolution, not in the order it runs
  const level = direction === 'up' ? levels - 1 - Number(block) : Number(block);
  const at = `${side}.${direction}.${level}`;
  return kind === 'resnets' ? `${at}.block.${item}.${shortcut(inBlock)}` : `${at}.${direction}sample.${inBlock}`;
}

function shortcut(layer: string): string {
  return layer === 'conv_shortcut' ? 'nin_shortcut' : layer;
}
