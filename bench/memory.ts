/**
 * @file What the published models need of the GPU's memory at real sizes, as the planner predicts it (src/pipeline/memory-plan.ts); no GPU
 * is used. `npx tsx bench/memory.ts` prints the table of docs/memory.md.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { FloatType } from '../src/base/dtype.js';
import { parseAutoencoderKLConfig } from '../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../src/models/configs/clip-text.js';
import { parseUNetConfig } from '../src/models/configs/unet.js';
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { createPredictor, type MemoryPlan } from '../src/pipeline/memory-plan.js';
import { networksOf, type SizedModel, type SizedModels, type SizedPlan } from '../src/pipeline/networks.js';

function published(name: string): unknown {
  const path = join(import.meta.dirname, `../test/golden/published/${name}.json`);
  const json: unknown = JSON.parse(readFileSync(path, 'utf8'));
  return Reflect.get(Object(json) as object, 'config'); // each file is { config, … }
}

const unet = (name: string): SizedModel['unet'] => ({ config: parseUNetConfig(published(name), name) });
const encoder = (name: string, slot: 1 | 2): SizedModel['encoders'][number] => ({
  config: parseClipTextConfig(published(name), name),
  slot,
});
const vae = (name: string): SizedModels['vae'] => ({ config: parseAutoencoderKLConfig(published(name), name) });

const SDXL: SizedModel = {
  architecture: 'sdxl',
  encoders: [encoder('clip-l', 1), encoder('clip-g', 2)],
  unet: unet('sdxl-unet'),
};
const REFINER: SizedModel = {
  architecture: 'sdxl-refiner',
  encoders: [encoder('clip-g', 2)],
  unet: unet('sdxl-refiner-unet'),
};
const sd = (unetName: string, encoderName: string): SizedModels => ({
  base: { architecture: 'sd', encoders: [encoder(encoderName, 1)], unet: unet(unetName) },
  refiner: undefined,
  vae: vae('sd-vae'),
});

const FAMILIES: Readonly<Record<string, SizedModels>> = {
  'SD 1.5': sd('sd15-unet', 'clip-l'),
  'SD 1.5 LCM': sd('sd15-lcm-unet', 'clip-l'),
  'SD 2.1': sd('sd21-unet', 'clip-h'),
  SDXL: { base: SDXL, refiner: undefined, vae: vae('sdxl-vae') },
  'SDXL + refiner': { base: SDXL, refiner: REFINER, vae: vae('sdxl-vae') },
};
const SIDES = [512, 768, 1024, 2048] as const;
const DTYPES: readonly FloatType[] = ['float16', 'float32'];

/** What the plan chooses at an ordinary guidance scale: one batch of both branches up to 1024², none where the model is distilled for it. */
function guidanceOf({ unet: { config } }: SizedModel, side: number): SizedPlan['guidance'] {
  if (config.timeCondProjDim !== undefined) return 'off';
  return side > 1024 ? 'sequential' : 'batch';
}

export function benchMemory(): Promise<readonly string[]> {
  const lines = [
    '| model | size | UNet in | weights | most alive at once | peak | in bands | in turn | in turn and in bands | largest Conv input | in bands |',
    '|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|',
  ];
  for (const [name, models] of Object.entries(FAMILIES))
    for (const side of SIDES) for (const dtype of DTYPES) lines.push(row(name, models, side, dtype));
  return Promise.resolve(lines);
}

function row(name: string, models: SizedModels, side: number, dtype: FloatType): string {
  const latent = { channels: 4, height: side / 8, width: side / 8 };
  const plan = { latent, guidance: guidanceOf(models.base, side), clipSkip: 0 };
  const predict = createPredictor(networksOf(models, plan, { dialect: webgpuDialect, dtype, textTokens: 77 }));
  const [whole, parts] = [predict('resident', 'whole'), predict('resident', 'parts')];
  const most = ({ networks }: MemoryPlan, of: 'activations' | 'largestConvInput'): number =>
    Math.max(...networks.map((n) => n[of]));
  const cells = [
    whole.weights,
    most(whole, 'activations'),
    whole.peak,
    parts.peak,
    predict('frugal', 'whole').peak,
    predict('frugal', 'parts').peak,
    most(whole, 'largestConvInput'),
    most(parts, 'largestConvInput'),
  ].map((bytes) => `${(bytes / 1e9).toFixed(2)} GB`);
  return `| ${[name, `${side}²`, dtype, ...cells].join(' | ')} |`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchMemory()).join('\n'));
