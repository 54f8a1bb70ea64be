/** @file A ControlNet for FLUX.1's `config.json`, as diffusers writes it: data, its parser, and whether it fits a model's transformer. */
import { fail } from '../../base/errors.js';
import { fields, show } from '../../base/fields.js';
import { fluxWidth, parseFluxTransformerConfig, type FluxTransformerConfig } from './flux-transformer.js';

/**
 * The first blocks of a FLUX.1 transformer, which see a guide picture. Defaults are those of diffusers' `FluxControlNetModel`, but for the axes
 * of positions: see {@link parseFluxControlNetConfig}.
 */
export interface FluxControlNetConfig extends FluxTransformerConfig {
  /** Kinds of guides that a union net tells apart; absent: it is for one kind. */
  readonly modes: number | undefined;
  /**
   * Channels of the guide's features, where the net makes them itself from the picture (XLabs' nets); absent: it reads the latents that the model's
   * autoencoder makes of the guide.
   */
  readonly hintChannels: number | undefined;
}

/** The class of these nets in diffusers. */
export const FLUX_CONTROLNET_CLASS = 'FluxControlNetModel';

/** Of published models: unused, row, column. */
const ROPE_AXES: readonly number[] = [16, 56, 56];

/** A token is a square of 2 × 2, whether of latents or of a guide's features. */
const SQUARE = 4;

/**
 * @param base the transformer that it is for: where the config has no axes of positions and the published ones do not fit its heads, the base's hold
 * @throws invalidModelConfig, unsupportedModel
 */
export function parseFluxControlNetConfig(
  json: unknown,
  where = 'config.json',
  base?: Pick<FluxTransformerConfig, 'ropeAxes'>,
): FluxControlNetConfig {
  const f = fields(json, where);
  const kind = f.text('_class_name', FLUX_CONTROLNET_CLASS);
  if (kind !== FLUX_CONTROLNET_CLASS)
    throw fail('unsupportedModel', `${where} is of a ${show(kind)}; expected a ${FLUX_CONTROLNET_CLASS}.`);
  const hintChannels = f.has('conditioning_embedding_channels')
    ? f.integer('conditioning_embedding_channels', undefined, { max: 16_384 })
    : undefined;
  // Of nets with features of their own, the square that becomes a token; of the others, one token is one token.
  f.only('patch_size', [hintChannels === undefined ? 1 : 2], 'a patch size that does not belong to its kind of guide');
  const transformer = parseFluxTransformerConfig(asTransformer(json, base), where, 0);
  if (hintChannels !== undefined && SQUARE * hintChannels !== transformer.inChannels)
    throw f.error('conditioning_embedding_channels', `a quarter of in_channels (${transformer.inChannels})`);
  if (transformer.doubleBlocks + transformer.singleBlocks === 0) throw f.error('num_layers', 'at least one block');
  return {
    ...transformer,
    modes: f.has('num_mode') ? f.integer('num_mode', undefined, { max: 1000 }) : undefined,
    hintChannels,
  };
}

/** The same file as a transformer's. */
function asTransformer(json: unknown, base: Pick<FluxTransformerConfig, 'ropeAxes'> | undefined): unknown {
  const f = fields(json, '');
  const sum = (axes: readonly number[]): number => axes.reduce((a, b) => a + b, 0);
  const given = [ROPE_AXES, base?.ropeAxes ?? ROPE_AXES];
  const axes = given.find((candidate) => sum(candidate) === (f.raw('attention_head_dim') ?? 128)) ?? ROPE_AXES;
  return {
    ...Object(json),
    _class_name: 'FluxTransformer2DModel',
    patch_size: 1,
    out_channels: null,
    ...(f.has('axes_dims_rope') ? {} : { axes_dims_rope: axes }),
  };
}

/**
 * Why a ControlNet does not fit a FLUX.1 model, in words that continue "The ControlNet …"; `undefined` when it does. It reads the same text and
 * latents, and its residuals are as wide as the model's features.
 */
export function fluxControlNetMisfit(control: FluxControlNetConfig, base: FluxTransformerConfig): string | undefined {
  const wanted: readonly (readonly [what: string, own: number, other: number])[] = [
    ['features', fluxWidth(control), fluxWidth(base)],
    ['text states', control.textDim, base.textDim],
    ['pooled text', control.pooledDim, base.pooledDim],
    ['image tokens', control.inChannels, base.inChannels],
  ];
  const misfit = wanted.find(([, own, other]) => own !== other);
  return misfit && `has ${misfit[0]} ${misfit[1]} wide, the model's are ${misfit[2]}`;
}
