/** @file Fuzz targets: weight files. Headers of safetensors, checkpoints of one file, LoRAs, embeddings. */
import { memorySource } from '../../src/assets/byte-source.js';
import { readEmbedding } from '../../src/assets/embedding-file.js';
import { memoryTree } from '../../src/assets/file-tree.js';
import { openLora } from '../../src/assets/lora-file.js';
import { openModelFiles, stableDiffusion } from '../../src/assets/open-model.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import type { ByteSource, FileTree } from '../../src/assets/source.js';
import type { Delta, Matrix, WeightChange } from '../../src/assets/weight-change.js';
import { parseClipTextConfig } from '../../src/models/configs/clip-text.js';
import { parseSchedulerConfig } from '../../src/models/configs/scheduler.js';
import { parseUNetConfig } from '../../src/models/configs/unet.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import type { NetworkWeights } from '../../src/models/lora/addresses.js';
import { jsonOf, type Golden } from './fuzz-configs.js';
import {
  checkCover,
  dataOf,
  headerOf,
  isShape,
  mutateHeader,
  product,
  shapesToHeader,
  SIZES,
  sourceOf,
  type Header,
} from './fuzz-headers.js';
import { isObject, mutateBytes } from './fuzz-mutate.js';
import { attempt, judge, must, type Target, type Verdict } from './fuzz-target.js';

export function weightTargets(golden: Golden): readonly Target[] {
  return [safetensorsTarget(golden), checkpointTarget(golden), loraTarget(golden), embeddingTarget(golden)];
}

/** Files that are small enough to be written again for each input. */
const SMALL = [
  'models/lora-sd15-kohya/lora-sd15-kohya.safetensors',
  'models/lokr-sd15/lokr-sd15.safetensors',
  'embeddings/tensors.safetensors',
];

function safetensorsTarget(golden: Golden): Target {
  const files = SMALL.map((path) => golden.read(path));
  return {
    kind: 'safetensors',
    run(random) {
      const file = random.pick(files);
      const source = random.chance(0.3)
        ? memorySource('f.safetensors', mutateBytes(file, random))
        : sourceOf('f.safetensors', mutateHeader(headerOf(file), random), random);
      return judge(
        () => openSafetensors(source),
        ({ tensors }) => checkCover([...tensors.values()], source.size),
      );
    },
  };
}

const CHECKPOINTS = ['sd15-single-bf16-junk', 'sd2v-single', 'sdxl-single'];

function checkpointTarget(golden: Golden): Target {
  const tiny = CHECKPOINTS.map((name) => [name, headerOf(golden.read(`models/${name}/${name}.safetensors`))] as const);
  const full = ['sd15', 'sd21', 'sdxl', 'sdxl-refiner'].map(
    (name) => ['', shapesToHeader(jsonOf(golden, `published/ldm/${name}.json`))] as const,
  );
  const configs = new Map<string, Uint8Array>(
    CHECKPOINTS.flatMap((name) =>
      golden
        .list(`models/${name}/config`)
        .map((path) => [`${name}/config/${path}`, golden.read(`models/${name}/config/${path}`)] as const),
    ),
  );
  const clip = memoryTree('clip', { 'merges.txt': new TextEncoder().encode('i n\n') });
  return {
    kind: 'checkpoint',
    async run(random) {
      const [name, header] = random.pick(random.chance(0.1) ? full : tiny);
      const source = sourceOf('m.safetensors', mutateHeader(header, random), random);
      const open = (path: string): ByteSource | undefined => {
        if (path === 'm.safetensors') return source;
        const bytes = configs.get(`${name}/${path}`);
        return bytes && memorySource(path, bytes);
      };
      const tree: FileTree = { name: 'm', file: 'm.safetensors', open: (path) => Promise.resolve(open(path)) };
      const opened = await attempt(async () => {
        const model = stableDiffusion(await openModelFiles(tree, { clipTokenizer: clip }));
        const weights = await Promise.all([model.unet, model.vae, ...model.encoders].map(({ open }) => open()));
        parseSchedulerConfig(model.scheduler);
        parseVaeConfig(model.vae.config);
        return {
          weights,
          unet: parseUNetConfig(model.unet.config),
          clips: model.encoders.map((e) => parseClipTextConfig(e.config)),
        };
      });
      if (opened === undefined) return 'refused';
      const { weights, unet, clips } = opened.value;
      must(clips.length > 0 && unet.blockOutChannels.length > 0, () => 'networks without layers');
      for (const { tensors } of weights)
        for (const { start, end, shape, dtype } of tensors.values()) {
          must(start >= 0 && start <= end && end <= source.size, () => `bytes ${start} to ${end} of ${source.size}`);
          must(
            product(shape) * (SIZES[dtype] ?? NaN) === end - start,
            () => `${dtype} [${shape.join()}] in ${end - start} bytes`,
          );
        }
      return 'accepted';
    },
  };
}

const LORAS = [
  'lora-sd15-kohya', 'lora-sd15-alphas', 'lora-sd15-peft', 'lora-sd15-attn-procs', 'locon-sd15', 'locon-sd15-mid', 'loha-sd15',
  'loha-sd15-tucker', 'lokr-sd15', 'lokr-sd15-both', 'lokr-sd15-full', 'dora-sd15', 'lora-sd15-peft-metadata',
]; // prettier-ignore

function loraTarget(golden: Golden): Target {
  const files = LORAS.map((name) => golden.read(`models/${name}/${name}.safetensors`));
  const networks = networksOf(golden);
  return {
    kind: 'lora',
    run(random) {
      const file = random.pick(files);
      const source = random.chance(0.3)
        ? memorySource('l.safetensors', mutateBytes(file, random))
        : sourceOf('l.safetensors', mutateHeader(headerOf(file), random), random, dataOf(file));
      return runLora(source, networks);
    },
  };
}

/** Reads a LoRA's file, and judges its changes of these networks. */
export async function runLora(source: ByteSource, networks: readonly NetworkWeights[]): Promise<Verdict> {
  const tree: FileTree = {
    name: 'l',
    file: source.name,
    open: (path) => Promise.resolve(path === source.name ? source : undefined),
  };
  const opened = await attempt(async () => (await openLora(tree)).changesFor(networks));
  if (opened === undefined) return 'refused';
  const shapes = new Map(
    networks.flatMap(({ weights }) => [...weights].map(({ name, shape }) => [name, shape] as const)),
  );
  let verdict: Verdict = 'accepted';
  for (const change of [...opened.value.changes.values()].flat()) {
    must(Number.isFinite(change.scale), () => `${change.tensor}: scale ${change.scale}`);
    const wanted = shapes.get(change.tensor);
    must(wanted !== undefined, () => `a change of ${change.tensor}, which there is not`);
    const contents = await attempt(() => change.read());
    if (contents === undefined) verdict = 'refused';
    else checkChange(change, contents.value, wanted ?? []);
  }
  return verdict;
}

function checkChange(
  { tensor, rescales }: WeightChange,
  { delta, rowNorms, inputNorms }: Awaited<ReturnType<WeightChange['read']>>,
  shape: readonly number[],
): void {
  const matrices = matricesOf(delta);
  for (const { rows, columns, values } of matrices) {
    must(values.length === rows * columns, () => `${tensor}: ${values.length} values for ${rows}×${columns}`);
    must(values.every(Number.isFinite), () => `${tensor}: a factor that is not finite`);
  }
  const [rows = 0, ...rest] = shape;
  must(
    sizeOf(delta).join() === [rows, product(rest)].join(),
    () => `${tensor} [${shape.join()}] is changed by ${sizeOf(delta).join('×')}`,
  );
  const normed = rowNorms === undefined ? inputNorms?.length === rest[0] : rowNorms.length === rows;
  must(!rescales || normed, () => `${tensor}: ${(rowNorms ?? inputNorms)?.length} norms for [${shape.join()}]`);
}

function matricesOf(delta: Delta): readonly Matrix[] {
  switch (delta.kind) {
    case 'product':
      return [delta.factor.left, delta.factor.right];
    case 'hadamard':
      return [delta.first.left, delta.first.right, delta.second.left, delta.second.right];
    case 'kronecker':
      return [delta.left, delta.right];
    case 'full':
      return [delta.values];
    default:
      return delta satisfies never;
  }
}

/** Rows and columns of what the factors make. */
function sizeOf(delta: Delta): readonly number[] {
  switch (delta.kind) {
    case 'product':
      return [delta.factor.left.rows, delta.factor.right.columns];
    case 'hadamard':
      return [delta.first.left.rows, delta.second.right.columns];
    case 'kronecker':
      return [delta.left.rows * delta.right.rows, delta.left.columns * delta.right.columns];
    case 'full':
      return [delta.values.rows, delta.values.columns];
    default:
      return delta satisfies never;
  }
}

/** The weights of a tiny model that LoRAs may change. */
function networksOf(golden: Golden): readonly NetworkWeights[] {
  const folders = [
    ['unet', 'unet/diffusion_pytorch_model'],
    ['encoder1', 'text_encoder/model'],
  ] as const;
  return folders.map(([network, path]) => {
    const header = headerOf(golden.read(`models/sd15-tiny/${path}.safetensors`));
    const weights = Object.entries(header).flatMap(([name, entry]) =>
      isObject(entry) && isShape(entry['shape']) ? [{ name: internalName(name, network), shape: entry['shape'] }] : [],
    );
    return { network, weights };
  });
}

/** transformers 5 writes text encoders without `text_model.`. */
function internalName(name: string, network: string): string {
  return network === 'unet' || name.startsWith('text_model.') ? name : `text_model.${name}`;
}

function embeddingTarget(golden: Golden): Target {
  const all = headerOf(golden.read('embeddings/tensors.safetensors'));
  const widths = { emb_params: [2, 768], clip_l: [4, 768], clip_g: [4, 1280] };
  const made = (names: readonly (keyof typeof widths)[]): Header =>
    shapesToHeader({ tensors: Object.fromEntries(names.map((name) => [name, widths[name]])) }, 'F32');
  const seeds = [
    made(['emb_params']),
    made(['clip_l', 'clip_g']),
    all,
    { '<cat-toy>': { dtype: 'F32', shape: [768] } },
  ];
  return {
    kind: 'embedding',
    run(random) {
      const source = sourceOf('e.safetensors', mutateHeader(random.pick(seeds), random), random);
      return judge(
        () => readEmbedding(source),
        ({ count, tables }) => {
          must(count >= 1 && count <= 75, () => `${count} vectors`);
          must(tables.length === 1 || tables.length === 2, () => `${tables.length} tables`);
          for (const { width, values, tensor } of tables) {
            must(
              values.length === count * width && width >= 1,
              () => `${tensor}: ${values.length} values for ${count}×${width}`,
            );
            must(values.every(Number.isFinite), () => `${tensor}: not finite`);
          }
        },
      );
    },
  };
}
