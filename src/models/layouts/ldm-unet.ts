/**
 * @file The UNet of a single-file checkpoint: names of the original code (CompVis/latent-diffusion and Stability-AI/generative-models,
 * `openaimodel.py`), where blocks of all levels are numbered in one row.
 */
import { sameShape, type WeightLayout } from './layout.js';

/** What the numbering depends on. */
export interface LdmUNetBlocks {
  readonly levels: number;
  /** ResNet blocks of each level on the way down; one more on the way up. */
  readonly layers: number;
}

const INPUT_BLOCK = /^input_blocks\.(\d{1,4})\./;
const DOWNSAMPLER = /^input_blocks\.(\d{1,4})\.0\.op\.weight$/;

/**
 * How many levels and layers a file has, from its names (without prefix): each level but the last ends in a downsampler.
 * `undefined` when there are no such blocks, or levels differ in length (no published model's do).
 */
export function readLdmUNetBlocks(names: Iterable<string>): LdmUNetBlocks | undefined {
  const downsamplers: number[] = [];
  let last = -1;
  for (const name of names) {
    last = Math.max(last, Number(INPUT_BLOCK.exec(name)?.[1] ?? -1));
    const [, downsampler] = DOWNSAMPLER.exec(name) ?? [];
    if (downsampler !== undefined) downsamplers.push(Number(downsampler));
  }
  downsamplers.sort((a, b) => a - b);
  const layers = (downsamplers[0] ?? last + 1) - 1;
  const levels = downsamplers.length + 1;
  const regular = downsamplers.every((at, i) => at === (i + 1) * (layers + 1)) && last === levels * (layers + 1) - 1;
  return layers > 0 && regular ? { levels, layers } : undefined;
}

const TOP = new Map([
  ['conv_in', 'input_blocks.0.0'],
  ['time_embedding.linear_1', 'time_embed.0'],
  ['time_embedding.linear_2', 'time_embed.2'],
  ['time_embedding.cond_proj', 'time_embed.cond_proj'],
  ['add_embedding.linear_1', 'label_emb.0.0'],
  ['add_embedding.linear_2', 'label_emb.0.2'],
  ['conv_norm_out', 'out.0'],
  ['conv_out', 'out.2'],
]);

const RESNET = new Map([
  ['norm1', 'in_layers.0'],
  ['conv1', 'in_layers.2'],
  ['time_emb_proj', 'emb_layers.1'],
  ['norm2', 'out_layers.0'],
  ['conv2', 'out_layers.3'],
  ['conv_shortcut', 'skip_connection'],
]);

const BLOCK = /^(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)$/;
const MIDDLE = /^mid_block\.(resnets|attentions)\.(\d+)\.(.+)$/;

/** The layout of a UNet with such blocks, without prefix. */
export function ldmUNetLayout(blocks: LdmUNetBlocks): WeightLayout {
  return {
    places: (internal) => {
      const [, module = internal, leaf] = /^(.+)\.(weight|bias)$/.exec(internal) ?? [];
      return leaf === undefined ? [] : moduleNames(module, blocks).map((name) => ({ name: `${name}.${leaf}` }));
    },
    shape: sameShape,
  };
}

/** Internal path of a layer → the paths it may have in the file. */
function moduleNames(module: string, { levels, layers }: LdmUNetBlocks): readonly string[] {
  const top = TOP.get(module);
  if (top !== undefined) return [top];

  const [, part, half, inMiddle = ''] = MIDDLE.exec(module) ?? [];
  if (part === 'attentions') return half === '0' ? [`middle_block.1.${inMiddle}`] : [];
  if (part === 'resnets') return layerOfResnet(`middle_block.${2 * Number(half)}`, inMiddle);

  const [, side, level, kind, item, inBlock = ''] = BLOCK.exec(module) ?? [];
  const down = side === 'down_blocks';
  // on the way down a level is its layers and a downsampler; on the way up one more layer, which holds the upsampler
  const first = Number(level) * (layers + 1) + (down ? 1 : 0);
  if (Number(level) >= levels || Number(item) >= (down ? layers : layers + 1)) return []; // would be another level's
  const row = down ? 'input_blocks' : 'output_blocks';
  switch (kind) {
    case 'resnets':
      return layerOfResnet(`${row}.${first + Number(item)}.0`, inBlock);
    case 'attentions':
      return [`${row}.${first + Number(item)}.1.${inBlock}`];
    case 'downsamplers':
      return down && inBlock === 'conv' ? [`${row}.${first + layers}.0.op`] : [];
    case 'upsamplers': // after the ResNet block, and after the attention where there is one
      return down ? [] : [1, 2].map((at) => `${row}.${first + layers}.${at}.${inBlock}`);
    case undefined:
    default:
      return [];
  }
}

function layerOfResnet(block: string, layer: string): readonly string[] {
  const name = RESNET.get(layer);
  return name === undefined ? [] : [`${block}.${name}`];
}
