/** @file Final latents → 8-bit RGB, through an autoencoder's decoder. */
import { vaeDecoderGraph, VAE_IO } from '../graphs/autoencoder-kl.js';
import { tinyDecoderGraph } from '../graphs/autoencoder-tiny.js';
import { toPixels, type RgbPicture } from '../image/pixels.js';
import type { VaeConfig } from '../models/configs/vae.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import { bandedGraphs, decodeBands } from './banded-decoder.js';
import { isCut, planBands, type Tiles } from './banded-plan.js';
import type { BandedShape, OnPart } from './banded-runs.js';
import { decodeWindows, planWindows, windowGraphs } from './banded-tiny.js';
import type { StageRun } from './conditioning.js';
import { fromDialect, stackBands, toDialect } from './layout.js';
import type { Vae } from './model.js';
import type { Plan } from './plan.js';

/** The decoder overflows float16 in many models (SDXL's always), and it runs once per picture: it stays in float32. */
const DECODER_DTYPE = 'float32';

/** Of a plan, what a decoder needs to know. */
export type DecodePlan = Pick<Plan, 'width' | 'height' | 'latent'>;
type LatentSize = Pick<Plan['latent'], 'height' | 'width'>;

export interface DecodeOptions {
  /** Default `auto`. */
  readonly tiles?: Tiles | undefined;
  /** Whether the model's latents are shifted, as FLUX.1's are; those of Stable Diffusion are not, whatever the autoencoder's config says. */
  readonly shifted?: boolean;
}

/**
 * In bands of rows where the device cannot decode the picture at once, or where it is told to; the picture is the same.
 * @param latents `[C,h,w]`, as the sampler leaves them (scaled).
 * @throws notFinite, runtimeFailed, outOfMemory, aborted
 */
export async function decodeLatents(
  runtime: Runtime,
  vae: Vae,
  plan: DecodePlan,
  latents: Float32Array,
  run: StageRun,
  { tiles = 'auto', shifted = false }: DecodeOptions = {},
): Promise<RgbPicture> {
  const { channels } = plan.latent;
  const { layout } = runtime.dialect;
  const decode = await loadDecoder(runtime, vae, plan.latent, run, tiles);
  return run.progress.stage('decode', async () => {
    const input = unscale(vae.config, latents, channels, shifted);
    run.trace?.('decode.input', input);
    const picture = await decode(toDialect(layout, input, channels));
    run.trace?.('decoded', fromDialect(layout, picture, vae.config.outChannels));
    const rgb = toPixels(picture, plan.width, plan.height, layout === 'nhwc' ? 'hwc' : 'chw');
    return { width: plan.width, height: plan.height, rgb };
  });
}

/** Latents → picture, both in the dialect's layout. */
type Decode = (latents: Float32Array) => Promise<Float32Array>;

async function loadDecoder(
  runtime: Runtime,
  vae: Vae,
  { height, width }: LatentSize,
  run: StageRun,
  tiles: Tiles,
): Promise<Decode> {
  const { config } = vae;
  const { dialect, info } = runtime;
  const graph = (): Graph => decoderGraph(runtime, config, height, width);
  const inParts =
    (decode: (latents: Float32Array) => Promise<readonly Float32Array[]>): Decode =>
    async (latents) =>
      stackBands(dialect.layout, await decode(latents), config.outChannels);

  const onPart: OnPart = (done, of) => run.progress.step(done, of);
  const cut = isCut(tiles, { graph, info });
  // Kernels of networks that were freed stay until a session with a kernel of its own is made: those of a decoder in parts have none.
  if (cut) await runtime.flush();
  const rows = typeof tiles === 'number' ? tiles : undefined;
  if (cut && config.kind === 'tiny') {
    const windows = planWindows(config, { height, width }, rows);
    const key = `windows ${width} ${JSON.stringify(windows)}`;
    const models = await vae.loadAll(key, () => windowGraphs(config, width, windows, dialect), run);
    return inParts((latents) => decodeWindows(dialect.layout, config, windows, models, latents, run.signal, onPart));
  }
  const plan = cut && config.kind === 'kl' ? planBands(config, { height, width }, rows) : undefined;
  if (plan !== undefined && config.kind === 'kl') {
    const shape: BandedShape = { config, width, plan };
    const models = await vae.loadAll(`bands ${width} ${JSON.stringify(plan)}`, () => bandedGraphs(shape, dialect), run);
    return inParts((latents) => decodeBands(runtime, shape, models, latents, run.signal, onPart));
  }
  const network = await vae.load(`${height}x${width}`, graph, run);
  return async (latents) => {
    const { [VAE_IO.picture]: picture } = await network.run({ [VAE_IO.latents]: latents }, run.signal);
    return picture ?? new Float32Array();
  };
}

function decoderGraph({ dialect }: Runtime, config: VaeConfig, height: number, width: number): Graph {
  const shape = { batch: 1, height, width };
  const options = { dialect, dtype: DECODER_DTYPE } as const;
  return config.kind === 'kl' ? vaeDecoderGraph(config, shape, options) : tinyDecoderGraph(config, shape, options);
}

/** The sampler's latents → the autoencoder's: `z/s` (FLUX.1: `z/s + shift`), or `z·std/s + mean` per channel. */
function unscale(config: VaeConfig, latents: Float32Array, channels: number, shifted: boolean): Float32Array {
  const { scalingFactor } = config;
  if (shifted && config.kind === 'kl') return latents.map((z) => Math.fround(z / scalingFactor) + config.shiftFactor);
  if (config.kind === 'tiny' || config.latentsMean === undefined || config.latentsStd === undefined) {
    return latents.map((z) => z / scalingFactor);
  }
  const { latentsMean, latentsStd } = config;
  const area = latents.length / channels;
  return latents.map((z, i) => {
    const channel = Math.floor(i / area);
    return (z * (latentsStd[channel] ?? 1)) / scalingFactor + (latentsMean[channel] ?? 0);
  });
}
