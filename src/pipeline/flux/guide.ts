/**
 * @file What FLUX.1's ControlNets see of a guide picture: latents that the model's autoencoder makes of it, drawn anew for each picture, or features
 * of the net's own. As diffusers' `FluxControlNetPipeline` prepares them; all of it as tokens.
 */
import { vaeDecoderGraph, vaeEncoderGraph, VAE_IO } from '../../graphs/autoencoder-kl.js';
import { FLUX_CONTROL_IO, fluxHintGraph } from '../../graphs/flux-controlnet.js';
import { packLatents, type LatentSize } from '../../graphs/flux-tokens.js';
import type { RgbPicture } from '../../image/pixels.js';
import type { AutoencoderKLConfig } from '../../models/configs/autoencoder-kl.js';
import type { VaeConfig } from '../../models/configs/vae.js';
import type { Graph } from '../../onnx/types.js';
import type { Runtime } from '../../runtime/runtime.js';
import { requireFinite, type Generator } from '../../sampling/index.js';
import { bandedEncoderGraphs, encodeBands } from '../banded-encoder.js';
import { isCut, planBands, type Tiles } from '../banded-plan.js';
import type { BandedShape } from '../banded-runs.js';
import type { StageRun } from '../conditioning.js';
import { fromDialect, toDialect } from '../layout.js';
import type { Vae } from '../model.js';
import { fileBytes } from '../weight-bytes.js';
import type { FluxControlNet } from './control-net.js';

/** The distribution of a picture's latents, `[C,h,w]` each. */
export interface Moments {
  readonly mean: Float32Array;
  readonly std: Float32Array;
}

/** Encoders overflow float16 as decoders do, and this one runs once. */
const DTYPE = 'float32';

/** The encoder for pictures of the size of these latents. */
export function guideEncoderGraph(
  config: AutoencoderKLConfig,
  { height, width }: Pick<LatentSize, 'height' | 'width'>,
  dialect: Runtime['dialect'],
): Graph {
  const factor = 2 ** (config.blockOutChannels.length - 1);
  return vaeEncoderGraph(
    config,
    { batch: 1, height: factor * height, width: factor * width },
    { dialect, dtype: DTYPE },
  );
}

/** How this encoder would be cut: none of a single resolution, which cannot be. @param most rows of latents in a band */
export function guideBands(
  config: AutoencoderKLConfig,
  size: Pick<LatentSize, 'height' | 'width'>,
  most?: number,
): BandedShape | undefined {
  const plan = planBands(config, size, most);
  return plan && { config, width: size.width, plan };
}

/** A picture `[3,H,W]` in −1…1 → its moments, both in the dialect's layout. */
type Encode = (picture: Float32Array) => Promise<Float32Array>;

/**
 * The latents' distribution of each of these pictures, which have the size of the result. In bands of rows wherever a picture of this size would be decoded in
 * bands, which takes more; they are the same.
 * @throws notFinite, missingWeight (an autoencoder without its encoder), runtimeFailed, outOfMemory, aborted
 */
export async function encodeGuides(
  runtime: Runtime,
  vae: Vae & { readonly config: AutoencoderKLConfig },
  size: LatentSize,
  pictures: readonly RgbPicture[],
  run: StageRun,
  tiles: Tiles = 'auto',
): Promise<readonly Moments[]> {
  if (pictures.length === 0) return [];
  const { dialect, info } = runtime;
  const { config } = vae;
  const encodeAll = async (encode: Encode): Promise<readonly Moments[]> => {
    const made: Moments[] = [];
    for (const picture of pictures) {
      const moments = await encode(toDialect(dialect.layout, planesOf(picture), 3));
      requireFinite(moments, 'The latents of a guide');
      made.push(momentsOf(fromDialect(dialect.layout, moments, 2 * config.latentChannels)));
    }
    return made;
  };
  const decoder = (): Graph => vaeDecoderGraph(config, { batch: 1, ...size }, { dialect, dtype: DTYPE });
  const bands = isCut(tiles, { graph: decoder, info })
    ? guideBands(config, size, typeof tiles === 'number' ? tiles : undefined)
    : undefined;
  if (bands === undefined) {
    const made = await vae.once(
      () => guideEncoderGraph(config, size, dialect),
      run,
      (encoder) =>
        encodeAll(async (picture) => {
          const { [VAE_IO.moments]: moments } = await encoder.run({ [VAE_IO.picture]: picture }, run.signal);
          return moments ?? new Float32Array();
        }),
    );
    await runtime.flush(); // its kernels would stay beside the transformer
    return made;
  }
  await runtime.flush(); // kernels of networks that were freed: an encoder in bands has none that would push them out
  try {
    return await vae.onceAll(
      () => bandedEncoderGraphs(bands, dialect),
      run,
      (models) => encodeAll((picture) => encodeBands(runtime, bands, models, picture, run.signal)),
    );
  } finally {
    await vae.dispose(); // its weights are inputs, which would stay beside the transformer
  }
}

/** Bounds of the logarithm of the variance (diffusers `DiagonalGaussianDistribution`). */
const LOG_VARIANCE = { min: -30, max: 20 };

/** Mean and log-variance `[2C,h,w]` → mean and standard deviation. */
function momentsOf(values: Float32Array): Moments {
  const half = values.length / 2;
  const { min, max } = LOG_VARIANCE;
  return {
    mean: values.slice(0, half),
    std: values.slice(half).map((logVariance) => Math.exp(0.5 * Math.min(max, Math.max(min, logVariance)))),
  };
}

/**
 * Latents of a guide as tokens `[T, 4C]`: drawn from their distribution with noise of the picture's own generator, shifted and scaled as the
 * sampler's are (Rombach et al. 2022, appendix G; diffusers `retrieve_latents`, which samples).
 * @param moments absent: a net that never acts; its noise is drawn all the same, as diffusers does
 */
export function drawGuide(
  moments: Moments | undefined,
  { scalingFactor, shiftFactor }: Pick<AutoencoderKLConfig, 'scalingFactor' | 'shiftFactor'>,
  size: LatentSize,
  { randn }: Pick<Generator, 'randn'>,
): Float32Array | undefined {
  const { fround } = Math;
  const noise = randn(size.channels * size.height * size.width);
  if (moments === undefined) return undefined;
  const { mean, std } = moments;
  const latents = noise.map((value, i) => {
    const drawn = fround((mean[i] ?? 0) + fround((std[i] ?? 0) * value));
    return fround(drawn - shiftFactor) * scalingFactor;
  });
  return packLatents(latents, size);
}

/**
 * Features of the net's own as tokens `[T, 4C]`: the same for all pictures.
 * @throws notFinite, missingWeight, runtimeFailed, outOfMemory, aborted
 */
export async function hintTokens(
  { dialect }: Runtime,
  net: FluxControlNet,
  hintChannels: number,
  size: Pick<LatentSize, 'height' | 'width'>,
  picture: RgbPicture,
  run: StageRun,
): Promise<Float32Array> {
  const graph = fluxHintGraph(hintChannels, picture, { dialect, dtype: DTYPE });
  const made = await net.once(
    fileBytes(net.file, graph),
    (bank, reading) => bank.load(graph, { ...reading, constants: 'session' }),
    run,
    (model) => model.run({ [FLUX_CONTROL_IO.picture]: toDialect(dialect.layout, planesOf(picture), 3) }, run.signal),
  );
  const features = fromDialect(dialect.layout, made[FLUX_CONTROL_IO.features] ?? new Float32Array(), hintChannels);
  requireFinite(features, `The guide's features of ${net.name}`);
  return packLatents(features, { ...size, channels: hintChannels });
}

/** RGB bytes → `[3,H,W]` from −1 to 1. */
function planesOf({ rgb, width, height }: RgbPicture): Float32Array {
  const area = width * height;
  const planes = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < area; i++) planes[c * area + i] = 2 * Math.fround((rgb[3 * i + c] ?? 0) / 255) - 1;
  }
  return planes;
}

/** Whether guides can be encoded with it. */
export function hasEncoder(vae: Vae): vae is Vae & { readonly config: AutoencoderKLConfig } {
  const config: VaeConfig = vae.config;
  return config.kind === 'kl';
}
