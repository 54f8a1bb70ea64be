/**
 * @file A textual inversion embedding (Gal et al. 2022, arXiv:2208.01618): vectors that take the place of a word, for one text encoder
 * or for SDXL's two. Reads the file, which is untrusted, and says which models it fits; knows nothing of prompts.
 */
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { detectFile } from '../models/detect.js';
import { decodeFloats } from './floats.js';
import { findOneFile } from './one-file.js';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from './safetensors.js';
import type { ByteSource, FileTree, OnBytes } from './source.js';

/** The text encoder that vectors are for: 1, or 2 for SDXL's with projection. */
export type EncoderSlot = 1 | 2;

export interface EmbeddingFile {
  /** For messages: path or URL. */
  readonly name: string;
  /** The file's name without folders and ending. */
  readonly stem: string;
  /** The word that the file itself gives to its vectors, as diffusers' files do. */
  readonly token: string | undefined;
  /** Continues "NAME is …", e.g. `a textual inversion embedding for Stable Diffusion XL`. */
  readonly what: string;
  /** Vectors, 1–{@link MAX_VECTORS}: the word counts as so many tokens. */
  readonly count: number;
  /** In the order of slots. */
  readonly tables: readonly EmbeddingTable[];
}

export interface EmbeddingTable {
  readonly slot: EncoderSlot;
  /** Its tensor in the file. */
  readonly tensor: string;
  readonly width: number;
  /** `[count, width]`, finite. */
  readonly values: Float32Array;
}

/** What fits between the begin and the end token of one encoder call. */
export const MAX_VECTORS = 75;
/** Wider than any text encoder; keeps a hostile file from being read whole. */
const MAX_WIDTH = 8192;

/** What reading an embedding may be given. */
export interface EmbeddingOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/**
 * The embedding of a tree: the file that was given, or in a folder `NAME/NAME.safetensors`, diffusers' `learned_embeds.safetensors`, or
 * the only one.
 * @example const file = await openEmbedding(urlTree('https://example.org/easynegative.safetensors', deps));
 * @throws missingModelFile, and as {@link readEmbedding}
 */
export async function openEmbedding(tree: FileTree, options: EmbeddingOptions = {}): Promise<EmbeddingFile> {
  const wanted = { what: 'an embedding', parameter: 'embeddings', usual: ['learned_embeds.safetensors'] };
  return readEmbedding(await findOneFile(tree, wanted, options.signal), options);
}

/**
 * Reads an embedding: AUTOMATIC1111's (`emb_params`, `string_to_param.*`), SDXL's (`clip_l`, `clip_g`) or diffusers' (one tensor
 * named like its word); one vector `[width]` or several `[count, width]`, of any float type.
 * @throws pickleRefused (a `.pt` or `.bin`), invalidModelFile (damaged; vectors of a wrong shape, too many, or not finite),
 *   unsupportedModel (says what the file is instead), downloadFailed, aborted
 */
export async function readEmbedding(
  source: ByteSource,
  { signal, onBytes }: EmbeddingOptions = {},
): Promise<EmbeddingFile> {
  const header = await openSafetensors(source, signal, onBytes);
  const { places, what, token } = findTables(header);
  const sizes = places.map(({ tensor, info }) => sizeOf(info, tensor, source.name));
  const [count = 0, ...others] = sizes.map((size) => size.count);
  if (others.some((other) => other !== count)) {
    const each = places.map(({ tensor }, i) => `${tensor} has ${sizes[i]?.count}`).join(', ');
    throw fail('invalidModelFile', `${source.name}: both text encoders need as many vectors as each other; ${each}.`);
  }
  const tables = await Promise.all(
    places.map(async ({ slot, tensor, info }, i): Promise<EmbeddingTable> => {
      const where = `${source.name}: tensor ${show(tensor)}`;
      const bytes = await source.read(info.start, info.end, signal, onBytes);
      const values = decodeFloats(bytes, info.dtype, 'float32', where);
      const bad = values.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) {
        throw fail('invalidModelFile', `${where} holds ${values[bad]} at place ${bad}; finite numbers were expected.`, {
          hint: 'Its training went wrong, or the file is damaged.',
        });
      }
      return { slot, tensor, width: sizes[i]?.width ?? 0, values };
    }),
  );
  return { name: source.name, stem: stemOf(source.name), token, what, count, tables };
}

/** A text encoder that embeddings are to be used with. */
export interface EncoderWidth {
  readonly slot: EncoderSlot;
  /** `hidden_size`: the length of a token's vector. */
  readonly width: number;
}

/**
 * The vectors for a model's text encoders: per slot `[count, width]`.
 * @param encoders all that the model has
 * @param model for messages
 * @throws incompatibleEmbedding naming the widths of both, and what the file is for
 */
export function vectorsFor(
  file: EmbeddingFile,
  encoders: readonly EncoderWidth[],
  model: string,
): ReadonlyMap<EncoderSlot, Float32Array> {
  const { tables, name, what } = file;
  const fits =
    tables.length === encoders.length &&
    encoders.every(({ slot, width }) => tables.some((table) => table.slot === slot && table.width === width));
  if (fits) return new Map(tables.map(({ slot, values }) => [slot, values]));
  const got = tables.map(({ tensor, width }) => `${show(tensor)} of ${width}`).join(' and ');
  const expected = encoders.map(({ slot, width }) => `text encoder ${slot} takes ${width}`).join(' and ');
  throw fail(
    'incompatibleEmbedding',
    `${name} is ${what}; its vectors are ${got} numbers, but of ${model} ${expected}.`,
    {
      parameter: 'embeddings',
      type: 'object[]',
      hint: 'Use an embedding that was trained for the same family as the model: SD 1 (768), SD 2 (1024), or SDXL (768 and 1280).',
    },
  );
}

interface TablePlace {
  readonly slot: EncoderSlot;
  readonly tensor: string;
  readonly info: TensorInfo;
}

/** Where the vectors are. @throws unsupportedModel, invalidModelFile */
function findTables({ name, tensors, metadata }: SafetensorsFile): {
  readonly places: readonly TablePlace[];
  readonly what: string;
  readonly token: string | undefined;
} {
  const contents = detectFile({ tensors, metadata });
  const what = contents.kind === 'embedding' ? contents.what : 'a textual inversion embedding';
  const place = (slot: EncoderSlot, tensor: string): readonly TablePlace[] => {
    const info = tensors.get(tensor);
    return info === undefined ? [] : [{ slot, tensor, info }];
  };
  // vectors of a wrong shape are of unknown kind: their names tell what they should be
  if (contents.kind === 'embedding' || contents.kind === 'unknown') {
    const pair = [...place(1, 'clip_l'), ...place(2, 'clip_g')];
    if (pair.length > 0) return { places: pair, what, token: undefined };
    const [own, ...more] = [...tensors.keys()].filter((key) => /^(emb_params$|string_to_param\.)/.test(key));
    if (more.length > 0) {
      throw fail(
        'invalidModelFile',
        `${name} holds ${more.length + 1} embeddings (${own}, ${more[0]}…); one was expected.`,
      );
    }
    if (own !== undefined) return { places: place(1, own), what, token: undefined };
  }
  const [key] = [...tensors.keys()];
  if (contents.kind === 'embedding' && key !== undefined) {
    // "*" is what training scripts call a word that has no name yet
    return { places: place(1, key), what, token: key.trim() === '' || key === '*' ? undefined : key };
  }
  const [is, hint] =
    contents.kind === 'checkpoint' ? ['a checkpoint', 'It belongs into model.'] : [contents.what, contents.hint];
  throw fail('unsupportedModel', `${name} is ${is}, not a textual inversion embedding.`, {
    parameter: 'embeddings',
    type: 'object[]',
    hint,
  });
}

/** `[width]` is one vector. @throws invalidModelFile */
function sizeOf(
  { shape }: TensorInfo,
  tensor: string,
  name: string,
): { readonly count: number; readonly width: number } {
  const [count = 0, width = 0, ...more] = shape.length === 1 ? [1, ...shape] : shape;
  if (more.length === 0 && count >= 1 && count <= MAX_VECTORS && width >= 1 && width <= MAX_WIDTH)
    return { count, width };
  throw fail(
    'invalidModelFile',
    `${name}: tensor ${show(tensor)} is [${shape.join(', ')}]; vectors are expected as [width] or [count, width], with a count of 1 to ${MAX_VECTORS} and a width of 1 to ${MAX_WIDTH}.`,
    count > MAX_VECTORS ? { hint: `A text encoder takes ${MAX_VECTORS} tokens at a time.` } : {},
  );
}

/** `https://…/my%20style.safetensors` → `my style`. */
function stemOf(name: string): string {
  const last = name.replace(/^.*[/\\]/s, '').replace(/\.[a-z0-9]{1,11}$/i, '');
  if (!name.includes('://')) return last;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a percent sign that encodes nothing
  }
}
