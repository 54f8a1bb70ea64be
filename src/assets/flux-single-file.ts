/**
 * @file A FLUX.1 checkpoint in one file, safetensors or GGUF → `FluxFiles`. Most such files hold the transformer alone; the text encoders, their
 * tokenizers and the VAE are looked for in the file, beside it, and in the models that it is registered with.
 */
import { fail } from '../base/errors.js';
import { fluxTransformerConfig } from '../models/flux-configs-from-shapes.js';
import { FLUX_CLIP, FLUX_COMPANIONS, FLUX_SCHEDULER_CONFIGS } from '../models/flux-facts.js';
import { FLUX_PARTS, type FluxFile, type FluxPart } from '../models/flux-file.js';
import { configFolder, firstCard, readOptionalJson } from './beside-file.js';
import { CLIP_VOCABULARY_SIZE, readClipTokenizer } from './clip-tokenizer-files.js';
import {
  fileSource,
  readTokenizer,
  TOKENIZER_FOLDERS,
  treeSource,
  type PartSource,
  type PartWidths,
  type TokenizedPart,
} from './flux-parts.js';
import type { ComponentFiles, FluxFiles } from './model-files.js';
import type { FileTree } from './source.js';
import type { TokenizerFiles } from './tokenizer-files.js';
import type { TensorFile } from './weight-tensors.js';
import { viewWeights } from './weights.js';

export interface FluxSingleFileOptions {
  readonly signal?: AbortSignal | undefined;
  /** Holds CLIP's published `merges.txt`. */
  readonly clipTokenizer?: FileTree | undefined;
  /** Models, or files of parts, that what is missing is taken from, the first that has it; looked into only when needed. */
  readonly companions?: readonly FileTree[] | undefined;
}

/** What every step needs. */
interface Context extends FluxSingleFileOptions {
  readonly file: TensorFile;
  readonly tree: FileTree;
  /** The folder `config/` beside the file. */
  readonly configs: FileTree | undefined;
  /** The file itself, and what lies beside it. */
  readonly own: readonly PartSource[];
  readonly borrowed: readonly PartSource[];
}

/**
 * A checkpoint whose header is read, with its other parts; no weights.
 * @param tree the folder that the file is in
 * @throws missingModelFile naming the parts that are nowhere, unsupportedModel (FLUX.1 Fill and its like), invalidModelFile,
 *   invalidModelConfig, downloadFailed, aborted
 */
export async function readFluxFile(
  tree: FileTree,
  file: TensorFile,
  found: FluxFile,
  options: FluxSingleFileOptions,
): Promise<FluxFiles> {
  const { signal, companions = [] } = options;
  const configs = await configFolder(tree, signal);
  const own = [fileSource(file, configs), treeSource(folderOf(tree))];
  const context: Context = { ...options, file, tree, configs, own, borrowed: companions.map(treeSource) };
  const transformer = await readTransformer(found, context);
  const parts = await readParts(transformer.widths, context);
  const [clipTokenizer, t5Tokenizer] = [
    await demandTokenizer('clip', parts.clip, context),
    await demandTokenizer('t5', parts.t5, context),
  ];
  const { warnings } = parts;
  return {
    name: file.name,
    architecture: 'flux',
    card: await firstCard([tree, configs], signal),
    transformer: transformer.files,
    clip: { ...parts.clip, slot: 1, tokenizer: clipTokenizer },
    t5: { ...parts.t5, tokenizer: t5Tokenizer },
    vae: parts.vae,
    scheduler: await readScheduler(found, context),
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

/** The folder that a file is in; over a URL, which lists nothing, it is a diffusers folder or of no use. */
function folderOf({ file: _file, asFile: _asFile, ...folder }: FileTree): FileTree {
  return folder;
}

async function readTransformer(
  { transformer }: FluxFile,
  { file, configs, signal }: Context,
): Promise<{ readonly files: ComponentFiles; readonly widths: PartWidths }> {
  const weights = viewWeights(file.name, file.tensors, transformer);
  const shapeOf = (internal: string): readonly number[] | undefined => weights.find(internal)?.shape;
  const [reads = 0, makes = 0] = [shapeOf('x_embedder.weight')?.[1], shapeOf('proj_out.weight')?.[0]];
  if (reads !== makes) {
    const got = `${file.name} is a FLUX.1 transformer that reads ${reads} channels and makes ${makes}`;
    throw fail('unsupportedModel', `${got}; one that reads what it makes was expected.`, {
      parameter: 'model',
      hint: 'FLUX.1 Fill, Canny and Depth need a second picture and cannot be run. Use FLUX.1 dev, schnell or a fine-tune of these.',
    });
  }
  const given = await readOptionalJson(configs, 'transformer/config.json', signal);
  const config = given ?? fluxTransformerConfig(shapeOf, `${file.name}: transformer`);
  return {
    files: { config, open: () => Promise.resolve(weights) },
    widths: {
      clip: shapeOf('time_text_embed.text_embedder.linear_1.weight')?.[1] ?? 0,
      t5: shapeOf('context_embedder.weight')?.[1] ?? 0,
      vae: makes / 4, // a token is 2 × 2 of the latents
    },
  };
}

type Parts = Readonly<Record<FluxPart, ComponentFiles>> & { readonly warnings: readonly string[] };

async function readParts(widths: PartWidths, { file, own, borrowed, signal }: Context): Promise<Parts> {
  const found = new Map<FluxPart, ComponentFiles>();
  const lenders = new Map<string, FluxPart[]>();
  for (const part of FLUX_PARTS) {
    for (const source of [...own, ...borrowed]) {
      const component = await source.component(part, widths, signal);
      if (component === undefined) continue;
      found.set(part, component);
      if (borrowed.includes(source)) lenders.set(source.name, [...(lenders.get(source.name) ?? []), part]);
      break;
    }
  }
  const [clip, t5, vae] = [found.get('clip'), found.get('t5'), found.get('vae')];
  if (clip === undefined || t5 === undefined || vae === undefined) {
    throw missing(
      FLUX_PARTS.filter((part) => !found.has(part)),
      file.name,
    );
  }
  const warnings = [...lenders].map(
    ([lender, parts]) => `${file.name} comes without ${list(parts)}; those of ${lender} are used.`,
  );
  return { clip, t5, vae, warnings };
}

const PART_NAMES = { clip: 'CLIP text encoder', t5: 'T5 text encoder', vae: 'VAE' } as const;

function list(parts: readonly FluxPart[]): string {
  const names = parts.map((part) => PART_NAMES[part]);
  return [...names.slice(0, -2), names.slice(-2).join(' and ')].join(', ');
}

const REGISTER = `Register it with models that have them, e.g. companions: ['${FLUX_COMPANIONS[0]}'], or put them beside the file.`;

function missing(parts: readonly FluxPart[], name: string): Error {
  const got = `${name} is a FLUX.1 model without its ${list(parts)}, and nothing beside it or among its companions has`;
  return fail('missingModelFile', `${got} ${parts.length === 1 ? 'it' : 'them'}.`, {
    parameter: 'model',
    hint: REGISTER,
  });
}

const TOKEN_TABLE = 'text_model.embeddings.token_embedding.weight';

/** Of `config/`, else CLIP's published one where it fits, else beside the file, else of the companions. */
async function demandTokenizer(part: TokenizedPart, files: ComponentFiles, context: Context): Promise<TokenizerFiles> {
  const { configs, clipTokenizer, own, borrowed, signal, file } = context;
  const given = configs && (await readTokenizer(configs, TOKENIZER_FOLDERS[part], signal));
  if (given !== undefined) return given;
  const published =
    part === 'clip' && clipTokenizer !== undefined && (await rowsOf(files, signal)) === CLIP_VOCABULARY_SIZE;
  if (published) return readClipTokenizer(clipTokenizer, FLUX_CLIP.pad, signal);
  for (const source of [...own, ...borrowed]) {
    const found = await source.tokenizer(part, signal);
    if (found !== undefined) return found;
  }
  throw fail('missingModelFile', `${file.name} comes without the tokenizer of its ${PART_NAMES[part]}.`, {
    parameter: 'model',
    hint: `Put it into config/${TOKENIZER_FOLDERS[part]} beside the file, with config/model_index.json. Or: ${REGISTER}`,
  });
}

async function rowsOf(files: ComponentFiles, signal?: AbortSignal): Promise<number | undefined> {
  return (await files.open(signal)).find(TOKEN_TABLE)?.shape[0];
}

async function readScheduler({ guidance }: FluxFile, { configs, signal }: Context): Promise<unknown> {
  const given = await readOptionalJson(configs, 'scheduler/scheduler_config.json', signal);
  return given ?? FLUX_SCHEDULER_CONFIGS[guidance ? 'dev' : 'schnell'];
}
