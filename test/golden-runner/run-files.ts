/** @file Model files of every kind (published names, float8 with factors, GGUF, all parts in one): each weight ends as the golden one, bit for bit. */
import { fileSource, treeSource, type PartWidths } from '../../src/assets/flux-parts.js';
import type { ComponentFiles } from '../../src/assets/model-files.js';
import { openModelFiles } from '../../src/assets/open-model.js';
import { openTensorFile } from '../../src/assets/weight-tensors.js';
import { memorySource } from '../../src/assets/byte-source.js';
import { toWireErrors } from '../../src/base/errors.js';
import { fileWithConfigs } from '../../scripts/lib/file-with-configs.js';
import { readGoldenJson, type GoldenFolder } from './files.js';
import { sha256Hex } from './hash.js';
import { outcomeOf, type Comparison, type Outcome } from './report.js';
import { compareHash } from './unit-values.js';

interface FileBook {
  /** Folder beside the files' that has configs, tokenizers and the other parts. */
  readonly base: string;
  /** File → component → weight, as the base's files call it → sha256 of its float32 values. */
  readonly files: Readonly<
    Record<string, { readonly components: Readonly<Record<string, Readonly<Record<string, string>>>> }>
  >;
}

type Open = Readonly<Record<string, ComponentFiles | undefined>>;

/** The files that `path`/files.json lists. */
export async function listFiles(folder: GoldenFolder, path: string): Promise<readonly string[]> {
  return Object.keys(((await readGoldenJson(folder, `${path}/files.json`)) as FileBook).files);
}

export async function runFile(folder: GoldenFolder, path: string, name: string): Promise<Outcome> {
  const start = performance.now();
  try {
    const { base, files } = (await readGoldenJson(folder, `${path}/files.json`)) as FileBook;
    const components = files[name]?.components ?? {};
    const open = 'transformer' in components ? openModel : openPart;
    const opened = await open(folder, `${path}/${name}`, `models/${base}`);
    const comparisons: Comparison[] = [];
    for (const [component, hashes] of Object.entries(components)) {
      const weights = await opened[component]?.open();
      for (const [weight, hash] of Object.entries(hashes)) {
        const got = weights && (await sha256Hex(await weights.read(weight, 'float32')));
        comparisons.push(compareHash(`${component}: ${weight}`, got ?? '', hash));
      }
    }
    return outcomeOf('files', name, comparisons, start);
  } catch (error) {
    const message = toWireErrors(error)
      .map((problem) => `${problem.code}: ${problem.message}`)
      .join(' | ');
    return { ...outcomeOf('files', name, [], start), message };
  }
}

/** A model, with what it lacks from the base. */
async function openModel(folder: GoldenFolder, path: string, base: string): Promise<Open> {
  const configs = folder.tree(base);
  const files = await openModelFiles(fileWithConfigs(folder.tree(path), configs), { companions: [configs] });
  if (files.architecture !== 'flux') throw new Error(`${path} was taken for ${files.architecture}`);
  return { transformer: files.transformer, text_encoder: files.clip, text_encoder_2: files.t5, vae: files.vae };
}

/** A part, found by the widths of the base's. */
async function openPart(folder: GoldenFolder, path: string, base: string): Promise<Open> {
  const file = await openTensorFile(memorySource(path, await folder.read(path)));
  const source = fileSource(file, folder.tree(base));
  const widths = await widthsOf(folder, base);
  const [clip, t5, vae] = await Promise.all(
    (['clip', 't5', 'vae'] as const).map((part) => source.component(part, widths)),
  );
  return { text_encoder: clip, text_encoder_2: t5, vae };
}

async function widthsOf(folder: GoldenFolder, base: string): Promise<PartWidths> {
  const source = treeSource(folder.tree(base));
  const none: PartWidths = { clip: 0, t5: 0, vae: 0 };
  const sizeOf = async (part: 'clip' | 't5' | 'vae', weight: string): Promise<number> =>
    (await (await source.component(part, none))?.open())?.find(weight)?.shape[1] ?? 0;
  return {
    clip: await sizeOf('clip', 'text_model.embeddings.token_embedding.weight'),
    t5: await sizeOf('t5', 'shared.weight'),
    vae: await sizeOf('vae', 'decoder.conv_in.weight'),
  };
}
