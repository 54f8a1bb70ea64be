/** @file A LoRA or LyCORIS file: opened by its header alone, then turned into changes of a model's weights that read their factors when asked. */
import { fail } from '../base/errors.js';
import { detectFile } from '../models/detect.js';
import type { ModelFamily } from '../models/families.js';
import { parseAdapterConfig, type AdapterConfig } from '../models/lora/adapter-config.js';
import type { NetworkWeights } from '../models/lora/addresses.js';
import { productRankOf } from '../models/lora/form-shapes.js';
import { showKey } from '../models/lora/keys.js';
import { matchLora, type MatchedChange } from '../models/lora/match.js';
import { parseJson } from './json.js';
import { asColumn, pickRows } from './lora-algebra.js';
import { readDelta, readScalar, readValues, type LoraTensors } from './lora-factors.js';
import { findLoraFile } from './lora-tree.js';
import { openSafetensors, type SafetensorsFile } from './safetensors.js';
import type { ByteSource, FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import type { ChangedNetwork, WeightChange } from './weight-change.js';

/** An opened file; nothing of it is held but its header. */
export interface LoraFile {
  /** For messages: the file's name or URL. */
  readonly name: string;
  /** Continues "NAME is …": `a LoRA for Stable Diffusion XL`. */
  readonly what: string;
  /** Where the header shows it. */
  readonly family: ModelFamily | undefined;
  /**
   * The changes of these networks' weights. Reads the alphas (one number per layer), no factors.
   * @throws incompatibleLora (another architecture), invalidModelFile (parts missing, shapes that do not fit together, alpha not finite
   *   or absurd), unsupportedModel, downloadFailed, aborted
   */
  changesFor(networks: readonly NetworkWeights[], signal?: AbortSignal): Promise<LoraChanges>;
}

export interface LoraChanges {
  readonly changes: ReadonlyMap<ChangedNetwork, readonly WeightChange[]>;
  /** Tensors of the file that belong to no weight of these networks; less than half of them. */
  readonly unmatched: readonly string[];
  /** Tensors without effect, which is no fault: for layers of a text encoder behind the last one that is run; second copies of layers. */
  readonly unused: readonly string[];
  /** What to tell of `unmatched`, and of tensors for FLUX.1's T5, which is not changed. */
  readonly warning: string | undefined;
}

/**
 * Opens the LoRA in `tree`: a file, a folder with one, or a repo of diffusers or peft.
 * @example
 * const lora = await openLora(urlTree('https://example.org/detail.safetensors', deps));
 * const { changes, warning } = await lora.changesFor([{ network: 'unet', weights }], signal);
 * for (const change of changes.get('unet') ?? []) console.log(change.tensor, change.scale, await change.read(signal));
 * @throws missingModelFile, unsupportedModel (says what the file is instead), invalidModelFile, invalidModelConfig, pickleRefused,
 *   downloadFailed, aborted
 */
export async function openLora(
  tree: FileTree,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<LoraFile> {
  const { signal } = options;
  const { source, adapterConfig } = await findLoraFile(tree, signal);
  const header = await openSafetensors(source, signal);
  const contents = detectFile(header);
  if (contents.kind !== 'lora') {
    const [what, hint] =
      contents.kind === 'checkpoint' ? ['a checkpoint', 'It belongs into model.'] : [contents.what, contents.hint];
    throw fail('unsupportedModel', `${source.name} is ${what}, not a LoRA.`, { parameter: 'lora', hint });
  }
  const config = headerConfig(header) ?? (adapterConfig && (await readAdapterConfig(adapterConfig, signal)));
  const file: LoraTensors = { source, tensors: header.tensors };
  return {
    name: source.name,
    what: contents.what,
    family: contents.family,
    async changesFor(networks, changesSignal) {
      const { changes, unmatched, unused, t5 } = matchLora(
        { name: source.name, what: contents.what, tensors: header.tensors },
        networks,
      );
      const scales = await readScales(changes, file, config, changesSignal);
      const lists = new Map<ChangedNetwork, WeightChange[]>(networks.map(({ network }) => [network, []]));
      changes.forEach((change, i) => lists.get(change.place.network)?.push(toChange(change, scales[i] ?? 1, file)));
      return { changes: lists, unmatched, unused, warning: warningOf(source.name, unmatched, t5, header.tensors.size) };
    },
  };
}

function toChange(change: MatchedChange, scale: number, file: LoraTensors): WeightChange {
  const { form, magnitude, weight, place } = change;
  const { rows } = place;
  return {
    tensor: weight,
    scale,
    rescales: magnitude !== undefined,
    rank: productRankOf(form),
    async read(signal) {
      const delta = await readDelta(form, file, { rows, signal });
      if (magnitude === undefined) return { delta };
      const norms = await readValues(magnitude.tensor.name, file, signal);
      if (magnitude.of === 'inputs') return { delta, inputNorms: norms };
      return { delta, rowNorms: pickRows(asColumn(norms), rows).values };
    },
  };
}

/** peft's configuration in the header, as diffusers saves it. */
function headerConfig({ name, metadata }: SafetensorsFile): AdapterConfig | undefined {
  const text = metadata.get('lora_adapter_metadata');
  if (text === undefined) return undefined;
  const where = `${name}: lora_adapter_metadata`;
  return parseAdapterConfig(
    parseJson(text, where, { dialect: 'python', code: 'invalidModelFile' }),
    where,
    'invalidModelFile',
  );
}

/** peft's configuration beside the file, as peft itself saves it. */
async function readAdapterConfig(source: ByteSource, signal: AbortSignal | undefined): Promise<AdapterConfig> {
  return parseAdapterConfig(await readJson(source, CONFIG_LIMIT, signal), source.name, 'invalidModelConfig');
}

/** So many are read at once: neighbours share a block of read-ahead. */
const BATCH = 32;
/** Of any trained file it is between 0 and some dozens; beyond this it is a damaged number. */
const MAX_SCALE = 10_000;

/** alpha ÷ rank of each change; 1 where the file has no alpha for it. */
async function readScales(
  changes: readonly MatchedChange[],
  file: LoraTensors,
  config: AdapterConfig | undefined,
  signal: AbortSignal | undefined,
): Promise<readonly number[]> {
  const scales: number[] = [];
  for (let start = 0; start < changes.length; start += BATCH) {
    const batch = changes.slice(start, start + BATCH);
    scales.push(...(await Promise.all(batch.map((change) => readScale(change, file, config, signal)))));
  }
  return scales;
}

async function readScale(
  { alpha, rank, form, place, weight }: MatchedChange,
  file: LoraTensors,
  config: AdapterConfig | undefined,
  signal: AbortSignal | undefined,
): Promise<number> {
  if (rank === undefined) return 1;
  const given = alpha === undefined ? undefined : await readScalar(alpha.name, file, signal);
  const configured = form.kind === 'product' ? config?.(place) : undefined;
  const divisor = configured?.rootOfRank === true && given === undefined ? Math.sqrt(rank) : rank;
  const scale = (given ?? configured?.alpha ?? divisor) / divisor;
  if (Math.abs(scale) <= MAX_SCALE) return scale;
  const where = alpha === undefined ? weight : showKey(alpha.name);
  throw fail(
    'invalidModelFile',
    `${file.source.name}: alpha ÷ rank of ${where} is ${scale}; at most ${MAX_SCALE} was expected.`,
    {
      parameter: 'lora',
      hint: 'The file is damaged.',
    },
  );
}

function warningOf(
  name: string,
  unmatched: readonly string[],
  t5: readonly string[],
  total: number,
): string | undefined {
  const told = (keys: readonly string[], what: string): readonly string[] => {
    if (keys.length === 0) return [];
    const some = keys.slice(0, 3).map(showKey).join(', ') + (keys.length > 3 ? ', …' : '');
    return [`${keys.length} of ${total} keys of ${name} ${what}: ${some}`];
  };
  const warnings = [
    ...told(unmatched, 'do not belong to this model'),
    ...told(
      t5,
      'are for T5 and have no effect, since LoRAs of FLUX.1 change transformer and CLIP alone, as in diffusers',
    ),
  ];
  return warnings.length === 0 ? undefined : warnings.join('\n');
}
