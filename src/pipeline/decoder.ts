/** @file Final latents → 8-bit RGB, through an autoencoder's decoder. */
import { vaeDecoderGraph, VAE_IO } from '../graphs/autoencoder-kl.js';
import { tinyDecoderGraph } from '../graphs/autoencoder-tiny.js';
import { toPixels, type RgbPicture } from '../image/pixels.js';
import type { VaeConfig } from '../models/configs/vae.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import type { StageRun } from './conditioning.js';
import { fromDialect, toDialect } from './layout.js';
import type { Vae } from './model.js';
import type { Plan } from './plan.js';

/** The decoder overflows float16 in many models (SDXL's always), and it runs once per picture: it stays in float32. */
const DECODER_DTYPE = 'float32';

/** @param latents `[C,h,w]`, as the sampler leaves them (scaled). @throws notFinite, runtimeFailed, aborted */
export async function decodeLatents(
  runtime: Runtime,
  vae: Vae,
  plan: Plan,
  latents: Float32Array,
  run: StageRun,
): Promise<RgbPicture> {
  const { height, width, channels } = plan.latent;
  const { layout } = runtime.dialect;
  const network = await vae.load(`${height}x${width}`, () => decoderGraph(runtime, vae.config, height, width), run);
  return run.progress.stage('decode', async () => {
    const input = unscale(vae.config, latents, channels);
    run.trace?.('decode.input', input);
    const outputs = await network.run({ [VAE_IO.latents]: toDialect(layout, input, channels) }, run.signal);
    const picture = outputs[VAE_IO.picture] ?? new Float32Array();
    run.trace?.('decoded', fromDialect(layout, picture, vae.config.outChannels));
    const rgb = toPixels(picture, plan.width, plan.height, layout === 'nhwc' ? 'hwc' : 'chw');
    return { width: plan.width, height: plan.height, rgb };
  });
}

function decoderGraph({ dialect }: Runtime, config: VaeConfig, height: number, width: number): Graph {
  const shape = { batch: 1, height, width };
  const options = { dialect, dtype: DECODER_DTYPE } as const;
  return config.kind === 'kl' ? vaeDecoderGraph(config, shape, options) : tinyDecoderGraph(config, shape, options);
}

/** The sampler's latents → the autoencoder's: `z/s`, or `z·std/s + mean` per channel. */
function unscale(config: VaeConfig, latents: Float32Array, channels: number): Float32Array {
  const { scalingFactor } = config;
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
