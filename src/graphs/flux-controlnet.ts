/**
 * @file Graphs of FluxControlNetModel: the first blocks of a FLUX.1 transformer, which see a guide, and what they hand over to the model's own blocks.
 * diffusers `controlnet_flux.py`. The blocks are those of `flux.ts`; here is what comes before them and what leaves them.
 */
import type { FluxControlNetConfig } from '../models/configs/flux-controlnet.js';
import { fluxWidth } from '../models/configs/flux-transformer.js';
import { writeGraph, type GraphOptions, type Tokens } from '../onnx/net.js';
import { gate } from '../onnx/sequence.js';
import type { Graph } from '../onnx/types.js';
import { dropTokens, joinTokens } from '../onnx/vision.js';
import { hintEmbedding } from './controlnet.js';
import { FLUX_IO, imageTokens, textTokens, type FluxShape } from './flux.js';

/** Names of inputs and outputs besides those of the transformer. C is the width, L text tokens, T image tokens. */
export const FLUX_CONTROL_IO = {
  ...FLUX_IO,
  /** The guide as tokens `[T, inChannels]`: packed latents, or packed features of the net's own. */
  guide: 'controlnet_cond',
  /** Of a union net, the embedding of the kind of guide `[1, C]`. */
  mode: 'controlnet_mode',
  /** The guide picture `[1,H,W,3]` (dialect layout) from −1 to 1, and the features that the net makes of it `[1,H/8,W/8,hintChannels]`. */
  picture: 'picture',
  features: 'hint',
  /** What the residual is multiplied by `[1]`, what it is added to `[T, C]`, and the sum. */
  scale: 'scale',
  previous: 'previous',
  residual: 'residual',
} as const;

/** Of a union net, the table `[modes, C]` of the kinds of guides. */
export const FLUX_MODE_TABLE = 'controlnet_mode_embedder.weight';

/** What the weights of residual `index` of a kind of block are called in the model: this, followed by their name in {@link fluxResidualGraph}. */
export function fluxResidualPrefix(kind: 'double' | 'single', index: number): string {
  return `${kind === 'double' ? 'controlnet_blocks' : 'controlnet_single_blocks'}.${index}`;
}

/** Noisy latents and the guide become one: `hidden_states`, `controlnet_cond` → `image` `[T, C]`. */
export function fluxControlImageGraph(config: FluxControlNetConfig, shape: FluxShape, options: GraphOptions): Graph {
  return writeGraph('flux_control_image', options, (net) => {
    const guide = net.tokens(FLUX_CONTROL_IO.guide, { n: 1, s: shape.imageTokens, c: config.inChannels });
    const latents = imageTokens(net, config, shape);
    net.output(
      FLUX_IO.image,
      net.add(latents, net.linear('controlnet_x_embedder', guide, { channels: fluxWidth(config) })),
    );
  });
}

/** `encoder_hidden_states` → `text` `[L, C]`; of a union net `[1+L, C]`, the first token being `controlnet_mode`. */
export function fluxControlTextGraph(config: FluxControlNetConfig, shape: FluxShape, options: GraphOptions): Graph {
  return writeGraph('flux_control_text', options, (net) => {
    const text = textTokens(net, config, shape);
    const mode = (): Tokens => net.tokens(FLUX_CONTROL_IO.mode, { n: 1, s: 1, c: fluxWidth(config) });
    net.output(FLUX_IO.text, config.modes === undefined ? text : joinTokens(net, mode(), text));
  });
}

/**
 * What a block hands over: its image tokens through a linear layer (trained from zero), scaled, and added to what other nets say. `image` (of a
 * single block `sequence`), `scale`, `previous` → `residual`. The weights are those of the layer itself: see {@link fluxResidualPrefix}.
 * @param shape of the net's blocks, a union net's token included
 */
export function fluxResidualGraph(
  config: FluxControlNetConfig,
  kind: 'double' | 'single',
  { textTokens: text, imageTokens: s }: FluxShape,
  options: GraphOptions,
): Graph {
  return writeGraph(`flux_${kind}_residual`, options, (net) => {
    const c = fluxWidth(config);
    const image =
      kind === 'double'
        ? net.tokens(FLUX_IO.image, { n: 1, s, c })
        : dropTokens(net, net.tokens(FLUX_IO.sequence, { n: 1, s: text + s, c }), text);
    const scale = net.tokens(FLUX_CONTROL_IO.scale, { n: 1, s: 1, c: 1 });
    const previous = net.tokens(FLUX_CONTROL_IO.previous, { n: 1, s, c });
    const own = gate(net, net.linear('', image, { channels: c }), scale);
    net.output(FLUX_CONTROL_IO.residual, net.add(previous, own));
  });
}

/** Of XLabs' nets: three halvings, all of one width. */
const HINT_WIDTHS = [16, 16, 16, 16];

/** The guide's features, of nets that make them themselves: `picture` → `hint`. The same at every step. */
export function fluxHintGraph(
  hintChannels: number,
  { height: h, width: w }: { readonly height: number; readonly width: number },
  options: GraphOptions,
): Graph {
  return writeGraph('flux_control_hint', options, (net) => {
    const picture = net.image(FLUX_CONTROL_IO.picture, { n: 1, h, w, c: 3 });
    net.output(FLUX_CONTROL_IO.features, hintEmbedding(net.at('input_hint_block'), picture, HINT_WIDTHS, hintChannels));
  });
}
