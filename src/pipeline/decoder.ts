/** @file Final latents → 8-bit RGB, through the autoencoder's decoder. */
import { VAE_IO, vaeDecoderGraph } from '../graphs/autoencoder-kl.js';
import { toPixels, type RgbPicture } from '../image/pixels.js';
import type { Runtime } from '../runtime/runtime.js';
import { fromDialect, toDialect } from './layout.js';
import type { LoadedModel } from './model.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import type { Trace } from './trace.js';

/** The decoder overflows float16 in many models (SDXL's always), and it runs once per picture: it stays in float32. */
const DECODER_DTYPE = 'float32';

/** @param latents `[C,h,w]`, as the sampler leaves them (scaled). @throws notFinite, runtimeFailed, aborted */
export async function decodeLatents(
  runtime: Runtime,
  model: LoadedModel,
  plan: Plan,
  latents: Float32Array,
  run: { readonly progress: Progress; readonly signal?: AbortSignal | undefined; readonly trace?: Trace | undefined },
): Promise<RgbPicture> {
  const { vae } = model;
  const { height, width, channels } = plan.latent;
  const network = await vae.load(
    `${height}x${width}`,
    () => vaeDecoderGraph(vae.config, { batch: 1, height, width }, { dialect: runtime.dialect, dtype: DECODER_DTYPE }),
    run.progress,
    run.signal,
  );
  return run.progress.stage('decode', async () => {
    const { layout } = runtime.dialect;
    const input = latents.map((x) => x / vae.config.scalingFactor);
    run.trace?.('decode.input', input);
    const outputs = await network.run({ [VAE_IO.latents]: toDialect(layout, input, channels) }, run.signal);
    const picture = outputs[VAE_IO.picture] ?? new Float32Array();
    run.trace?.('decoded', fromDialect(layout, picture, vae.config.outChannels));
    const rgb = toPixels(picture, plan.width, plan.height, layout === 'nhwc' ? 'hwc' : 'chw');
    return { width: plan.width, height: plan.height, rgb };
  });
}
