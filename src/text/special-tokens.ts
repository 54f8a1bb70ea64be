/** @file Which tokens of a CLIP tokenizer are special, and how many ids its encoder takes: tokenizer_config.json and special_tokens_map.json. */
import type { TokenizerFiles } from '../assets/tokenizer-files.js';
import { fail } from '../base/errors.js';
import { fields, show, type Fields } from '../base/fields.js';

/** Spellings of the special tokens. */
export interface SpecialNames {
  readonly bos: string;
  readonly eos: string;
  readonly unk: string;
  readonly pad: string;
  /** Others that a prompt may hold, e.g. additional_special_tokens. */
  readonly more: readonly string[];
  /** `model_max_length`: ids per encoder call, specials included. */
  readonly length: number;
}

/** CLIPTokenizer's own defaults, in transformers. */
const DEFAULTS = { bos: '<|startoftext|>', eos: '<|endoftext|>', unk: '<|endoftext|>', pad: '<|endoftext|>' } as const;
/** CLIP's context length (Radford et al. 2021, arXiv:2103.00020, §2.4 and its released models). */
const CLIP_LENGTH = 77;

/**
 * Where the two files disagree (SD 2: pad `<|endoftext|>` and `!`) the map wins, unless the config has `added_tokens_decoder`:
 * then it was saved by a transformers that no longer reads the map. So does transformers' `_from_pretrained`.
 * @throws invalidModelConfig
 */
export function readSpecialNames(files: TokenizerFiles): SpecialNames {
  const config = fields(files.config ?? {}, `${files.name}/tokenizer_config.json`);
  const map = fields(files.specialTokens ?? {}, `${files.name}/special_tokens_map.json`);
  const order = config.has('added_tokens_decoder') ? [config, map] : [map, config];
  const pick = (role: keyof typeof DEFAULTS): string => {
    const file = order.find((f) => f.has(`${role}_token`));
    return file === undefined ? DEFAULTS[role] : spelling(file.raw(`${role}_token`), `${file.where}: "${role}_token"`);
  };
  return {
    bos: pick('bos'),
    eos: pick('eos'),
    unk: pick('unk'),
    pad: pick('pad'),
    more: [...order.flatMap(additional), ...added(config)],
    length: readLength(config),
  };
}

/** A token is written as a string, or as an object with `content`. */
function spelling(value: unknown, where: string): string {
  const text = typeof value === 'string' ? value : fields(value, where).text('content');
  if (text !== '') return text;
  throw fail('invalidModelConfig', `${where} must not be empty.`);
}

function additional(f: Fields): readonly string[] {
  return f.list('additional_special_tokens', spelling, []);
}

/** Tokens of `added_tokens_decoder`: id → `{content, special, …}`. */
function added(config: Fields): readonly string[] {
  const table = config.raw('added_tokens_decoder');
  if (typeof table !== 'object' || table === null) return [];
  return Object.entries(table).map(([id, value]: [string, unknown]) =>
    spelling(value, `${config.where}: "added_tokens_decoder" ${show(id)}`),
  );
}

function readLength(config: Fields): number {
  const length = config.number('model_max_length', CLIP_LENGTH);
  // what transformers writes for "not known" is int(1e30)
  if (length >= 1e9) return CLIP_LENGTH;
  return config.integer('model_max_length', CLIP_LENGTH, { min: 3, max: 4096 });
}
