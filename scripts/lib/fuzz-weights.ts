/** @file Fuzz targets: weight files. Headers of safetensors and GGUF, checkpoints of one file, LoRAs, embeddings. */
import { memorySource } from '../../src/assets/byte-source.js';
import { readEmbedding } from '../../src/assets/embedding-file.js';
import { memoryTree } from '../../src/assets/file-tree.js';
import { openGguf } from '../../src/assets/gguf.js';
import { openLora } from '../../src/assets/lora-file.js';
import { openModelFiles, stableDiffusion } from '../../src/assets/open-model.js';
import { openSafetensors, type TensorInfo } from '../../src/assets/safetensors.js';
import type { ByteSource, FileTree } from '../../src/assets/source.js';
import type { Delta, Matrix, WeightChange } from '../../src/assets/weight-change.js';
import { parseClipTextConfig } from '../../src/models/configs/clip-text.js';
import { parseSchedulerConfig } from '../../src/models/configs/scheduler.js';
import { parseUNetConfig } from '../../src/models/configs/unet.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import type { NetworkWeights } from '../../src/models/lora/addresses.js';
import { jsonOf, type Golden } from './fuzz-configs.js';
import { isObject, join, mutateBytes, mutateJson, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, judge, must, type Target, type Verdict } from './fuzz-target.js';

/** A header before it is written: names of tensors, types, shapes. */
type Header = Readonly<Record<string, unknown>>;

/** Bytes per element, written down once more: what the reader has is not to judge itself. */
const SIZES: Readonly<Record<string, number>> = {
  F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1, F8_E4M3: 1, F8_E5M2: 1,
}; // prettier-ignore

const product = (shape: readonly number[]): number => shape.reduce((total, size) => total * size, 1);

export function weightTargets(golden: Golden): readonly Target[] {
  return [
    safetensorsTarget(golden),
    checkpointTarget(golden),
    loraTarget(golden),
    embeddingTarget(golden),
    ggufTarget(golden),
  ];
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

/** Every tensor has the bytes that its shape needs, and together they fill the file to its end. */
function checkCover(tensors: readonly TensorInfo[], size: number): void {
  const sorted = [...tensors].sort((a, b) => a.start - b.start || a.end - b.end);
  sorted.forEach(({ dtype, shape, start, end }, i) => {
    must(
      shape.every((n) => Number.isInteger(n) && n >= 0),
      () => `shape ${shape.join()}`,
    );
    must(
      product(shape) * (SIZES[dtype] ?? NaN) === end - start,
      () => `${dtype} [${shape.join()}] in ${end - start} bytes`,
    );
    must(start >= 10 && end <= size, () => `bytes ${start} to ${end} of ${size}`);
    must(i === 0 || start === sorted[i - 1]?.end, () => `a hole or an overlap at ${start}`);
  });
  must((sorted.at(-1)?.end ?? size) === size, () => 'bytes behind the last tensor');
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
  const shapes = new Map(
    networks.flatMap(({ weights }) => [...weights].map(({ name, shape }) => [name, shape] as const)),
  );
  return {
    kind: 'lora',
    async run(random) {
      const file = random.pick(files);
      const source = random.chance(0.3)
        ? memorySource('l.safetensors', mutateBytes(file, random))
        : sourceOf('l.safetensors', mutateHeader(headerOf(file), random), random, dataOf(file));
      const tree: FileTree = {
        name: 'l',
        file: 'l.safetensors',
        open: (path) => Promise.resolve(path === 'l.safetensors' ? source : undefined),
      };
      const opened = await attempt(async () => (await openLora(tree)).changesFor(networks));
      if (opened === undefined) return 'refused';
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
    },
  };
}

function checkChange(
  { tensor, rescales }: WeightChange,
  { delta, rowNorms }: Awaited<ReturnType<WeightChange['read']>>,
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
  must(!rescales || rowNorms?.length === rows, () => `${tensor}: ${rowNorms?.length} norms for ${rows} rows`);
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

function ggufTarget(golden: Golden): Target {
  const file = golden.read('unit/gguf/all-types.gguf');
  return {
    kind: 'gguf',
    run(random) {
      const bytes = mutateBytes(file.slice(0, random.chance(0.9) ? file.length : random.int(file.length)), random);
      return judge(
        () => openGguf(memorySource('f.gguf', bytes)),
        ({ tensors }) => {
          const sorted = [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end);
          sorted.forEach(({ shape, start, end }, i) => {
            must(start > 0 && start <= end && end <= bytes.length, () => `bytes ${start} to ${end} of ${bytes.length}`);
            must(i === 0 || start >= (sorted[i - 1]?.end ?? 0), () => `an overlap at ${start}`);
            must(shape.length <= 4 && shape.every((n) => Number.isInteger(n) && n >= 0), () => `shape ${shape.join()}`);
          });
        },
      );
    },
  };
}

/** The header of a valid file. */
function headerOf(file: Uint8Array): Header {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const json: unknown = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  return isObject(json) ? json : {};
}

function dataOf(file: Uint8Array): Uint8Array {
  return file.subarray(8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true)));
}

function shapesToHeader(list: unknown, dtype = 'F16'): Header {
  const tensors = isObject(list) && isObject(list['tensors']) ? list['tensors'] : {};
  return Object.fromEntries(Object.entries(tensors).map(([name, shape]) => [name, { dtype, shape }]));
}

/** Names, shapes and types changed; of most, places are then made right again, so that what is behind the header's own checks is reached. */
function mutateHeader(header: Header, random: Random): unknown {
  const names = Object.keys(header).filter((name) => name !== '__metadata__');
  const entries = new Map(Object.entries(header));
  for (let n = 1 + random.int(4); n > 0 && names.length > 0; n--) {
    const name = random.pick(names);
    const entry = entries.get(name);
    switch (random.int(8)) {
      case 0:
        entries.delete(name);
        break;
      case 1:
        entries.delete(name);
        entries.set(mutateText(name, random), entry);
        break;
      case 2:
        entries.set(random.pick(names), entry);
        break;
      case 3:
        if (isObject(entry)) entries.set(name, { ...entry, dtype: random.pick([...Object.keys(SIZES), 'Q4', 'F32 ']) });
        break;
      case 4:
        if (isObject(entry)) entries.set(name, { ...entry, shape: mutateShape(entry['shape'], random) });
        break;
      case 5:
        entries.set('__metadata__', mutateJson(entries.get('__metadata__') ?? { format: 'pt' }, random));
        break;
      case 6:
        entries.set(name, random.chance(0.3) ? mutateJson(entry, random) : entries.get(random.pick(names)));
        break;
      default:
        entries.set(mutateText(name, random), entry);
    }
  }
  const mutated = Object.fromEntries(entries);
  return random.chance(0.8) ? withPlaces(mutated) : mutated;
}

/** Mostly still a list of sizes. */
function mutateShape(shape: unknown, random: Random): unknown {
  if (!isShape(shape) || random.chance(0.1)) return mutateJson(shape, random);
  const at = random.int(shape.length + 1);
  const size = shape[at] ?? 1;
  switch (random.int(5)) {
    case 0:
      return shape.toSpliced(at, 1);
    case 1:
      return shape.toSpliced(at, 0, random.pick([0, 1, 3, 2 ** 20]));
    case 2:
      return shape.toReversed();
    default:
      return shape.toSpliced(at, 1, random.pick([size + 1, size * 2, size >> 1, 1, 0, 4, 8, 2 ** 40]));
  }
}

/** Each tensor behind the one before it, as long as its shape says. */
function withPlaces(header: Header): Header {
  let at = 0;
  return Object.fromEntries(
    Object.entries(header).map(([name, entry]) => {
      if (!isObject(entry) || name === '__metadata__' || !isShape(entry['shape'])) return [name, entry];
      const bytes = product(entry['shape']) * (SIZES[String(entry['dtype'])] ?? 1);
      at += bytes;
      return [name, { ...entry, data_offsets: [at - bytes, at] }];
    }),
  );
}

function isShape(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => typeof size === 'number');
}

/** More than any header or small file has; who reads more of a hostile file at once can be made to fill the memory. */
const MOST_READ = 2 ** 27;

/** A file of this header, as long as its tensors say (or nearly); they are the bytes of `data` again and again. */
function sourceOf(
  name: string,
  header: unknown,
  random: Random,
  data: Uint8Array = Uint8Array.of(0, 60, 1, 61),
): ByteSource {
  const text = new TextEncoder().encode(JSON.stringify(header) ?? 'null');
  const head = join(new Uint8Array(8), text);
  new DataView(head.buffer).setBigUint64(
    0,
    BigInt(random.chance(0.97) ? text.length : text.length + random.int(20) - 10),
    true,
  );
  const last = isObject(header)
    ? Object.values(header).reduce<number>((most, entry) => Math.max(most, endOf(entry)), 0)
    : 0;
  const size = head.length + Math.min(last, 2 ** 50) + (random.chance(0.95) ? 0 : random.int(9) - 4);
  return {
    name,
    size: Math.max(0, size),
    read(start, end) {
      if (!(start >= 0 && start <= end && end <= size))
        throw new Error(`bytes ${start} to ${end} are asked of a file of ${size}`);
      if (end - start > MOST_READ) throw new Error(`${end - start} bytes are asked for at once`);
      const bytes = new Uint8Array(end - start);
      bytes.set(head.subarray(start, end));
      for (let at = Math.max(start, head.length); at < end; at++)
        bytes[at - start] = data[(at - head.length) % data.length] ?? 0;
      return Promise.resolve(bytes);
    },
  };
}

function endOf(entry: unknown): number {
  const offsets = isObject(entry) ? entry['data_offsets'] : undefined;
  const end: unknown = Array.isArray(offsets) ? offsets[1] : 0;
  return Number.isSafeInteger(end) ? Number(end) : 0;
}
