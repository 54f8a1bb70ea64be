/** @file Fuzz targets: the JSON files of a model (configs of its networks, its scheduler) and its tokenizer's files. */
import { memoryTree } from '../../src/assets/file-tree.js';
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import {
  fluxDoubleBlockGraph,
  fluxEmbedderGraph,
  fluxOutputGraph,
  fluxSingleBlockGraph,
} from '../../src/graphs/flux.js';
import { t5BlockGraph } from '../../src/graphs/t5.js';
import { parseClipTextConfig } from '../../src/models/configs/clip-text.js';
import { parseControlNetConfig } from '../../src/models/configs/controlnet.js';
import { parseFluxTransformerConfig, type FluxTransformerConfig } from '../../src/models/configs/flux-transformer.js';
import { parseSchedulerConfig } from '../../src/models/configs/scheduler.js';
import { parseT5Config, type T5Config } from '../../src/models/configs/t5.js';
import { parseUNetConfig, type UNetEncoderConfig } from '../../src/models/configs/unet.js';
import { parseVaeConfig, vaeScaleFactor, type VaeConfig } from '../../src/models/configs/vae.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { SCHEDULER_NAMES } from '../../src/request/scheduler-names.js';
import { createSampler, type Sampler } from '../../src/sampling/index.js';
import { createClipTokenizer, type ClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { isObject, mutateJson, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, judge, must, type Target } from './fuzz-target.js';

/** Files of the tests' folder `golden`. */
export interface Golden {
  readonly read: (path: string) => Uint8Array<ArrayBuffer>;
  /** The files in a folder and in those inside it, as paths from there on. */
  readonly list: (folder: string) => readonly string[];
}

export function jsonOf({ read }: Golden, path: string): unknown {
  return JSON.parse(new TextDecoder().decode(read(path)));
}

/** The configs of the published models, as diffusers and transformers write them. */
const PUBLISHED = {
  unet: ['sd15-unet', 'sd21-unet', 'sdxl-unet', 'sdxl-refiner-unet', 'sd15-lcm-unet'],
  vae: ['sd-vae', 'sdxl-vae', 'taesd', 'flux-vae'],
  clip: ['clip-l', 'clip-h', 'clip-g'],
  controlnet: ['sd15-controlnet', 'sdxl-controlnet'],
  transformer: ['flux-dev'],
  t5: ['t5-xxl-encoder'],
} as const;

export function configTargets(golden: Golden): readonly Target[] {
  const target = <T>(
    kind: keyof typeof PUBLISHED,
    parse: (json: unknown, where?: string) => T,
    check: (config: T) => void,
  ): Target => {
    const seeds = PUBLISHED[kind].map((name) => {
      const file = jsonOf(golden, `published/${name}.json`);
      return isObject(file) ? file['config'] : undefined;
    });
    return { kind, run: (random) => judge(() => parse(mutateJson(random.pick(seeds), random)), check) };
  };
  return [
    target('unet', parseUNetConfig, (config) => {
      checkUNet(config);
      must(
        config.upBlockTypes.length === config.downBlockTypes.length,
        () => 'up blocks and down blocks differ in number',
      );
      sizes('out_channels, conv_out_kernel', [config.outChannels, config.convOutKernel]);
    }),
    target('vae', parseVaeConfig, checkVae),
    target('clip', parseClipTextConfig, (config) => {
      sizes('sizes', [config.vocabSize, config.hiddenSize, config.intermediateSize, config.projectionDim]);
      few('layers', config.layers);
      few('positions', config.maxPositions, 4096);
      must(config.hiddenSize % config.heads === 0, () => `${config.hiddenSize} over ${config.heads} heads`);
    }),
    target('controlnet', parseControlNetConfig, (config) => {
      checkUNet(config);
      sizes('hint channels', config.hintChannels);
      must(config.conditioningChannels >= 1 && config.conditioningChannels <= 3, () => 'conditioning channels');
    }),
    target('transformer', parseFluxTransformerConfig, checkFlux),
    target('t5', parseT5Config, checkT5),
    schedulerTarget(golden),
    tokenizerTarget(golden),
  ];
}

/** All that its graphs are written with. A block is written once for its kind, at two tokens of text and of the image. */
export function checkFlux(config: FluxTransformerConfig): void {
  const { heads, headDim, ropeAxes } = config;
  sizes('sizes', [
    config.inChannels,
    config.outChannels,
    headDim,
    heads,
    config.textDim,
    config.pooledDim,
    ...ropeAxes,
  ]);
  few('blocks', config.doubleBlocks + config.singleBlocks, 2000);
  must(
    ropeAxes.reduce((sum, axis) => sum + axis, 0) === headDim,
    () => `axes ${ropeAxes.join()} in heads of ${headDim}`,
  );
  must(
    ropeAxes.every((axis) => axis % 2 === 0),
    () => `odd axes ${ropeAxes.join()}`,
  );
  const options = { dialect: wasmDialect, dtype: 'float32' } as const;
  const shape = { textTokens: 2, imageTokens: 2 };
  for (const write of [fluxEmbedderGraph, fluxDoubleBlockGraph, fluxSingleBlockGraph, fluxOutputGraph])
    must(write(config, shape, options).weights.length > 0, () => 'a graph without weights');
}

export function checkT5(config: T5Config): void {
  sizes('sizes', [config.vocabSize, config.width, config.headDim, config.heads, config.feedForwardWidth]);
  few('layers', config.layers);
  few('buckets', config.buckets);
  must(
    config.buckets % 2 === 0 && config.maxDistance > config.buckets / 4,
    () => `${config.buckets} buckets to ${config.maxDistance}`,
  );
  must(config.eps >= 0 && config.eps <= 1, () => `epsilon ${config.eps}`);
  for (const id of [config.padTokenId, config.eosTokenId])
    must(id >= 0 && id < config.vocabSize, () => `token ${id} of ${config.vocabSize}`);
  must(
    t5BlockGraph(config, 2, { dialect: wasmDialect, dtype: 'float32' }).weights.length > 0,
    () => 'a graph without weights',
  );
}

function checkUNet(config: UNetEncoderConfig): void {
  const { blockOutChannels: channels, normNumGroups, heads } = config;
  const levels = channels.length;
  few('levels', levels, 16);
  for (const list of [
    config.downBlockTypes, config.layersPerBlock, config.transformerLayersPerBlock, heads, config.crossAttentionDim, config.onlyCrossAttention,
  ]) must(list.length === levels, () => `a list of ${list.length} for ${levels} levels`); // prettier-ignore
  sizes('widths', [
    ...channels,
    ...config.crossAttentionDim,
    config.inChannels,
    config.timeEmbeddingDim,
    normNumGroups,
  ]);
  channels.forEach((width, level) => {
    must(width % normNumGroups === 0, () => `${width} channels in ${normNumGroups} groups`);
    must(width % (heads[level] ?? NaN) === 0, () => `${width} channels over ${heads[level]} heads`);
  });
  for (const count of config.layersPerBlock) few('layers of a block', count);
  for (const count of config.transformerLayersPerBlock) few('transformer layers', count);
  const numbers = [config.normEps, config.freqShift, config.midBlockScaleFactor];
  must(numbers.every(Number.isFinite), () => `numbers ${numbers.join()}`);
  if (config.addition !== undefined) sizes('additions', [config.addition.timeDim, config.addition.inputDim]);
}

function checkVae(config: VaeConfig): void {
  const levels = config.kind === 'kl' ? config.blockOutChannels : config.decoderBlockOutChannels;
  sizes('widths', [...levels, config.outChannels, config.latentChannels]);
  few('levels', levels.length, 16);
  must(vaeScaleFactor(config) >= 1, () => 'a scale below 1');
  must(config.scalingFactor > 0 && Number.isFinite(config.scalingFactor), () => `scaling ${config.scalingFactor}`);
  if (config.kind === 'tiny') {
    must(config.numDecoderBlocks.length === levels.length, () => 'blocks and levels differ');
    for (const count of config.numDecoderBlocks) few('blocks', count);
    return;
  }
  few('layers', config.layersPerBlock);
  for (const width of levels)
    must(width % config.normNumGroups === 0, () => `${width} in ${config.normNumGroups} groups`);
  for (const list of [config.latentsMean, config.latentsStd])
    must(
      list === undefined || (list.length === config.latentChannels && list.every(Number.isFinite)),
      () => 'latent statistics',
    );
}

function sizes(what: string, list: readonly number[]): void {
  must(
    list.every((n) => Number.isInteger(n) && n >= 1 && n <= 2 ** 24),
    () => `${what}: ${list.join()}`,
  );
  must(list.length > 0, () => `${what}: none`);
}

/** A number of things that a graph is written with one by one. */
function few(what: string, count: number, most = 1024): void {
  must(Number.isInteger(count) && count >= 0 && count <= most, () => `${count} ${what}`);
}

/** All of the configs' keys are read only when a sampler is made. */
function schedulerTarget(golden: Golden): Target {
  const models = ['sd15-tiny', 'sd2v-tiny', 'sdxl-tiny', 'lcm-tiny', 'sdxl-refiner-tiny'];
  const seeds = models.map((model) => jsonOf(golden, `models/${model}/scheduler/scheduler_config.json`));
  return {
    kind: 'scheduler',
    run: (random) => {
      const config = mutateJson(random.pick(seeds), random);
      const name = random.pick(SCHEDULER_NAMES);
      const steps = random.pick([1, 2, 3, 8, 20, 50, 100]);
      return judge(
        () => createSampler({ name, config: parseSchedulerConfig(config), steps }),
        (sampler) => checkSampler(sampler, steps),
      );
    },
  };
}

function checkSampler({ timesteps, sigmas, steps, initNoiseSigma, intervals, name }: Sampler, asked: number): void {
  const what = (): string =>
    `${name}, ${asked} steps: σ ${sigmas.slice(0, 6).join()}…, t ${timesteps.slice(0, 6).join()}…`;
  must(steps >= 1 && steps <= asked && intervals.length === steps && sigmas.length === steps + 1, what);
  must(timesteps.length >= steps && timesteps.every((t) => Number.isFinite(t)), what);
  // σ/α is ∞ where a model begins without signal.
  must(
    sigmas.every((sigma) => sigma >= 0),
    what,
  );
  must(Number.isFinite(initNoiseSigma) && initNoiseSigma > 0, () => `initial noise of ${initNoiseSigma}`);
}

const PROMPTS = ['', 'a red fox', "it's 9 o'clock", 'naïve 🦊 ﷺ', '<|endoftext|> !', '\ud800\0', 'x'.repeat(300)];

function tokenizerTarget(golden: Golden): Target {
  const folder = 'models/sd15-tiny/tokenizer';
  const text = (name: string): string => new TextDecoder().decode(golden.read(`${folder}/${name}`));
  const names = ['vocab.json', 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json'] as const;
  const seeds = names.map((name) => [name, text(name)] as const);
  const mutate = (name: string, file: string, random: Random): string =>
    name === 'merges.txt' || random.chance(0.2)
      ? mutateText(file, random)
      : JSON.stringify(mutateJson(JSON.parse(file), random));
  return {
    kind: 'tokenizer',
    async run(random) {
      const at = random.int(seeds.length);
      const files = seeds.map(([name, file], i) => [name, i === at ? mutate(name, file, random) : file] as const);
      const bytes = files.map(([name, file]) => [`t/${name}`, new TextEncoder().encode(file)] as const);
      const tree = memoryTree('model', Object.fromEntries(bytes));
      const made = await attempt(async () => createClipTokenizer(await readTokenizerFiles(tree, 't')));
      if (made === undefined) return 'refused';
      checkTokenizer(made.value);
      return 'accepted';
    },
  };
}

function checkTokenizer(tokenizer: ClipTokenizer): void {
  const { bos, eos, pad, size, length } = tokenizer;
  const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < size;
  must([bos, eos, pad].every(isId), () => `begin ${bos}, end ${eos}, padding ${pad} of ${size} ids`);
  must(Number.isInteger(length) && length >= 3 && length <= 4096, () => `calls of ${length} tokens`);
  must(size <= 2 ** 24, () => `${size} ids`);
  for (const prompt of PROMPTS) {
    const ids = tokenizer.encode(prompt);
    must(ids.every(isId), () => `${JSON.stringify(prompt)} gives ids ${ids.join()} of ${size}`);
  }
}
