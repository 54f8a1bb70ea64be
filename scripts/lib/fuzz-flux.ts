/** @file Fuzz targets: FLUX.1's files. Checkpoints of one file (safetensors and GGUF, with and without the other parts), folders, LoRAs. */
import { memorySource } from '../../src/assets/byte-source.js';
import { memoryTree } from '../../src/assets/file-tree.js';
import type { FluxFiles } from '../../src/assets/model-files.js';
import { openModelFiles } from '../../src/assets/open-model.js';
import { readPackedWeight } from '../../src/assets/packed-weight.js';
import type { ByteSource, FileTree } from '../../src/assets/source.js';
import type { WeightFile } from '../../src/assets/weights.js';
import { packedSizes, type PackingFormat } from '../../src/base/packed-matrix.js';
import { parseClipTextConfig } from '../../src/models/configs/clip-text.js';
import { parseFluxTransformerConfig } from '../../src/models/configs/flux-transformer.js';
import { parseSchedulerConfig } from '../../src/models/configs/scheduler.js';
import { parseT5Config } from '../../src/models/configs/t5.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import type { NetworkWeights } from '../../src/models/lora/addresses.js';
import { openTokenTable } from '../../src/pipeline/token-table.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { createT5Tokenizer } from '../../src/text/t5-tokenizer.js';
import { checkFlux, checkT5, type Golden } from './fuzz-configs.js';
import {
  allInOne,
  diffusersFluxLoras,
  fluxLoras,
  ggufT5Shapes,
  originalFlux,
  SMALL_FLUX,
  t5Shapes,
  type Shapes,
} from './fuzz-flux-shapes.js';
import { ggufBytes, ggufSource } from './fuzz-gguf.js';
import {
  dataOf,
  headerOf,
  isShape,
  mutateHeader,
  product,
  shapesToHeader,
  SIZES,
  sourceOf,
  withPlaces,
  type Header,
} from './fuzz-headers.js';
import { isObject, mutateBytes, mutateJson, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, must, type Target, type Verdict } from './fuzz-target.js';
import { runLora } from './fuzz-weights.js';

const FOLDER = 'models/flux-dev-tiny';
const TEXT = new TextEncoder();

export function fluxTargets(golden: Golden): readonly Target[] {
  return [fileTarget(golden), folderTarget(golden), loraTarget(golden)];
}

/** What the parts of the tiny model are called and how large they are, from the headers of its files. */
function partShapes(golden: Golden, folder: string): Shapes {
  const files = golden.list(`${FOLDER}/${folder}`).filter((path) => path.endsWith('.safetensors'));
  const headers = files.map((path) => headerOf(golden.read(`${FOLDER}/${folder}/${path}`)));
  return Object.fromEntries(
    headers.flatMap((header) =>
      Object.entries(header).flatMap(([name, entry]) =>
        isObject(entry) && isShape(entry['shape']) ? [[name, entry['shape']] as const] : [],
      ),
    ),
  );
}

/** Float8 with factors beside it, as ComfyUI writes it. */
function scaled(header: Header, random: Random): Header {
  const suffix = random.pick(['scale_weight', 'weight_scale']);
  const entries = Object.entries(header).flatMap(([name, entry]): (readonly [string, unknown])[] => {
    if (!isObject(entry) || !isShape(entry['shape']) || entry['shape'].length !== 2 || !name.endsWith('.weight'))
      return [[name, entry]];
    const [rows = 0] = entry['shape'];
    const shape = random.pick([[], [1], [rows], [rows, 1], random.chance(0.05) ? [3] : []]);
    return [
      [name, { ...entry, dtype: random.pick(['F8_E4M3', 'F8_E5M2']) }],
      [name.replace(/weight$/, suffix), { dtype: 'F32', shape }],
    ];
  });
  return { ...Object.fromEntries(entries), scaled_fp8: { dtype: 'F8_E4M3', shape: [0] } };
}

/** A checkpoint of one file, what lies beside it, and what it is registered with. */
function fileTarget(golden: Golden): Target {
  const clip = partShapes(golden, 'text_encoder');
  const vae = partShapes(golden, 'vae');
  const small = originalFlux(SMALL_FLUX);
  const tiny = originalFlux({ ...SMALL_FLUX, width: 64, head: 32, text: 64, single: 3 });
  const diffusers = partShapes(golden, 'transformer');
  const together = allInOne(small, t5Shapes(SMALL_FLUX.text, 2), clip, vae);
  const files = filesOf(golden);
  const companion = memoryTree('companion', files);
  const configs = Object.fromEntries(
    Object.entries(files).flatMap(([path, bytes]) => (/\.(json|txt)$/.test(path) ? [[`config/${path}`, bytes]] : [])),
  );
  const merges = memoryTree('clip', { 'merges.txt': TEXT.encode('i n\n') });
  const t5File = (random: Random): ByteSource =>
    random.chance(0.5)
      ? ggufSource('t5.gguf', ggufT5Shapes(SMALL_FLUX.text, 2), random, random.chance(0.5))
      : sourceOf('t5.safetensors', header(t5Shapes(SMALL_FLUX.text, 2), random), random);
  return {
    kind: 'flux-file',
    async run(random) {
      const shapes = random.pick([small, tiny, diffusers, together, together]);
      const gguf = shapes !== together && random.chance(0.5);
      const name = gguf ? 'm.gguf' : 'm.safetensors';
      const main = gguf ? ggufSource(name, shapes, random) : sourceOf(name, header(shapes, random), random);
      // Heads that are not 128 wide are taken from a config alone.
      const given = random.chance(shapes === tiny || shapes === diffusers ? 0.95 : 0.1) ? configs : {};
      const beside = shapes === small ? [t5File(random)] : [];
      const tree = treeOf(main, name, given, beside, shapes === small);
      const companions = random.chance(0.9) ? [companion] : [];
      return run(() => openModelFiles(tree, { clipTokenizer: merges, companions }), random);
    },
  };
}

function header(shapes: Shapes, random: Random): unknown {
  const plain = shapesToHeader({ tensors: shapes }, random.pick(['F16', 'BF16', 'F32', 'F8_E4M3']));
  const whole = random.chance(0.4) ? scaled(plain, random) : plain;
  return random.chance(0.3) ? withPlaces(whole) : mutateHeader(whole, random);
}

/** A folder with the file; `sources` lie beside it. */
function treeOf(
  main: ByteSource,
  name: string,
  files: Readonly<Record<string, Uint8Array>>,
  sources: readonly ByteSource[],
  listed: boolean,
): FileTree {
  const beside = new Map(sources.map((source) => [source.name, source]));
  const open = (path: string): ByteSource | undefined => {
    if (path === name) return main;
    const bytes = files[path];
    return beside.get(path) ?? (bytes && memorySource(path, bytes));
  };
  return {
    name: 'm',
    file: name,
    open: (path) => Promise.resolve(open(path)),
    ...(listed ? { list: () => Promise.resolve([name, ...beside.keys(), ...Object.keys(files)]) } : {}),
  };
}

function filesOf(golden: Golden): Readonly<Record<string, Uint8Array>> {
  return Object.fromEntries(golden.list(FOLDER).map((path) => [path, golden.read(`${FOLDER}/${path}`)] as const));
}

/** A folder of which one file of text is wrong, or one weight file. */
function folderTarget(golden: Golden): Target {
  const files = filesOf(golden);
  const names = Object.keys(files);
  const jsons = names.filter((path) => path.endsWith('.json'));
  return {
    kind: 'flux-folder',
    run(random) {
      const path = random.pick(random.chance(0.8) ? jsons : names);
      const bytes = files[path] ?? new Uint8Array();
      const changed = random.chance(0.05)
        ? []
        : [[path, path.endsWith('.json') ? mutateFile(bytes, random) : mutateBytes(bytes, random)] as const];
      const others = Object.fromEntries(Object.entries(files).filter(([other]) => other !== path));
      const tree = memoryTree('m', { ...others, ...Object.fromEntries(changed) });
      return run(() => openModelFiles(tree), random);
    },
  };
}

function mutateFile(bytes: Uint8Array, random: Random): Uint8Array {
  const text = new TextDecoder().decode(bytes);
  return TEXT.encode(
    random.chance(0.1) ? mutateText(text, random) : (JSON.stringify(mutateJson(JSON.parse(text), random)) ?? ''),
  );
}

/** Opens as `openFluxModel` does, all but the device, and judges what is accepted. */
async function run(open: () => Promise<{ readonly architecture: string }>, random: Random): Promise<Verdict> {
  const opened = await attempt(async () => {
    const files = await open();
    return isFlux(files) ? openParts(files) : undefined;
  });
  if (opened?.value === undefined) return 'refused';
  const { transformer, clip, t5, weights } = opened.value;
  checkFlux(transformer);
  checkT5(t5);
  must(clip.layers >= 1, () => 'CLIP without layers');
  for (const file of weights) {
    for (const [name, { start, end, shape, dtype, source }] of file.tensors) {
      must(
        start >= 0 && start <= end && end <= source.size,
        () => `${name}: bytes ${start} to ${end} of ${source.size}`,
      );
      const bytes = dtype in SIZES ? product(shape) * (SIZES[dtype] ?? NaN) : ggufBytes(dtype, shape);
      must(bytes === end - start, () => `${name}: ${dtype} [${shape.join()}] in ${end - start} bytes`);
    }
  }
  const [file] = weights;
  for (let n = 0; n < 3 && file !== undefined; n++) await readSome(file, random.pick(READ), random);
  return 'accepted';
}

function isFlux(files: { readonly architecture: string }): files is FluxFiles {
  return files.architecture === 'flux';
}

async function openParts(files: FluxFiles) {
  const transformer = parseFluxTransformerConfig(files.transformer.config);
  const t5 = parseT5Config(files.t5.config);
  const clip = parseClipTextConfig(files.clip.config);
  parseVaeConfig(files.vae.config);
  parseSchedulerConfig(files.scheduler);
  const weights = await Promise.all([files.transformer, files.t5, files.clip, files.vae].map(({ open }) => open()));
  const [, t5File, clipFile] = weights;
  createClipTokenizer(files.clip.tokenizer);
  createT5Tokenizer(files.t5.tokenizer);
  if (t5File !== undefined) openTokenTable(t5File, { name: 'shared.weight', size: t5.vocabSize, width: t5.width });
  if (clipFile !== undefined) {
    const table = 'text_model.embeddings.token_embedding.weight';
    openTokenTable(clipFile, { name: table, size: clip.vocabSize, width: clip.hiddenSize });
  }
  return { transformer, t5, clip, weights };
}

/** Weights of every kind of place: whole, thirds, sevenths, swapped halves, scales. */
const READ = [
  'x_embedder.weight', 'context_embedder.bias', 'time_text_embed.text_embedder.linear_1.weight', 'transformer_blocks.0.attn.to_k.weight',
  'transformer_blocks.1.attn.add_v_proj.bias', 'transformer_blocks.0.attn.norm_q.weight', 'transformer_blocks.0.ff.net.0.proj.weight',
  'single_transformer_blocks.0.proj_mlp.weight', 'single_transformer_blocks.1.attn.to_q.weight', 'norm_out.linear.weight', 'proj_out.weight',
]; // prettier-ignore

const FORMATS: readonly PackingFormat[] = [
  { bits: 4, block: 32, zeros: false },
  { bits: 4, block: 32, zeros: true },
  { bits: 8, block: 32, zeros: false },
  { bits: 4, block: 16, zeros: true },
];
/** Values: no more are read of one weight, for time. */
const MOST_VALUES = 2 ** 19;

/** What is read of an accepted file has as many values as its shape says. */
async function readSome(file: WeightFile, name: string, random: Random): Promise<void> {
  const found = await attempt(() => file.find(name));
  const shape = found?.value?.shape;
  if (shape === undefined || product(shape) > MOST_VALUES) return;
  const as = random.pick(['float32', 'float16'] as const);
  const values = await attempt(() => file.read(name, as));
  must(
    values === undefined || values.value.length === product(shape),
    () => `${name} [${shape.join()}]: ${values?.value.length} values`,
  );
  let pieces = 0;
  const read = await attempt(async () => {
    for await (const piece of file.pieces?.(name, as) ?? [values?.value ?? []]) pieces += piece.length;
  });
  must(read === undefined || pieces === product(shape), () => `${name} [${shape.join()}]: ${pieces} values in pieces`);
  const [rows = 0, columns = 0] = shape;
  const format = random.pick(FORMATS);
  const packed = await attempt(() => readPackedWeight(file, name, format, { maxBytes: random.pick([1024, 2 ** 20]) }));
  if (packed === undefined) return;
  const wanted = packedSizes(rows, columns, format);
  const { codes, scales, zeros } = packed.value;
  const sizes = [codes.length, scales.length, zeros?.length ?? 0];
  must(
    sizes.join() === [wanted.codes, wanted.scales, wanted.zeros].join(),
    () => `${name} [${shape.join()}] packed: ${sizes.join()}`,
  );
}

function loraTarget(golden: Golden): Target {
  const transformer = partShapes(golden, 'transformer');
  const encoder = partShapes(golden, 'text_encoder');
  const original = originalFlux({ ...SMALL_FLUX, width: 64, head: 32, text: 64, single: 3 });
  const file = golden.read('models/flux-lora-kohya-all/flux-lora-kohya-all.safetensors');
  const seeds = [
    headerOf(file),
    ...[...fluxLoras(original), ...diffusersFluxLoras(transformer)].map((tensors) => shapesToHeader({ tensors })),
  ];
  const named = (network: NetworkWeights['network'], shapes: Shapes): NetworkWeights => ({
    network,
    weights: Object.entries(shapes).map(([name, shape]) => ({ name, shape })),
  });
  const networks = [
    named('transformer', transformer),
    named(
      'encoder1',
      Object.fromEntries(
        Object.entries(encoder).map(([name, shape]) => [
          name.startsWith('text_model.') ? name : `text_model.${name}`,
          shape,
        ]),
      ),
    ),
  ];
  return {
    kind: 'flux-lora',
    run(random) {
      const seed = random.chance(0.2) ? (seeds[0] ?? {}) : random.pick(seeds);
      const wanted = random.chance(0.1) ? seed : mutateHeader(seed, random);
      const source = sourceOf(
        'l.safetensors',
        isObject(wanted) && random.chance(0.5) ? withPlaces(wanted) : wanted,
        random,
        dataOf(file),
      );
      return runLora(source, networks);
    },
  };
}
