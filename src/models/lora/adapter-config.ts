/**
 * @file What peft's configuration of a LoRA says of its scale: the header's `lora_adapter_metadata`, where keys have the network's name
 * before them (`unet.lora_alpha`), or the file `adapter_config.json`, where they have none. Source: peft, `tuners/lora/config.py`.
 */
import { fail, type ErrorCode } from '../../base/errors.js';
import { fields, show } from '../../base/fields.js';
import type { LayerPlace, LoraNetwork } from './addresses.js';

/** How peft scales a layer. */
export interface AdapterScale {
  readonly alpha: number;
  /** Divide alpha by √rank, not by rank (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732). */
  readonly rootOfRank: boolean;
}

/** `undefined` where the configuration says nothing. */
export type AdapterConfig = (place: LayerPlace) => AdapterScale | undefined;

const PREFIXES = {
  unet: 'unet.',
  encoder1: 'text_encoder.',
  encoder2: 'text_encoder_2.',
  transformer: 'transformer.',
} as const satisfies Record<LoraNetwork, string>;

/** @throws `code` (a field that is wrong); unsupportedModel (another method than LoRA, patterns that are regular expressions) */
export function parseAdapterConfig(json: unknown, where: string, code: ErrorCode): AdapterConfig {
  const all = fields(json, where, code);
  const scaleUnder = (prefix: string): AdapterConfig | undefined => {
    if (!all.has(`${prefix}lora_alpha`)) return undefined;
    const method = all.text(`${prefix}peft_type`, 'LORA');
    if (method !== 'LORA')
      throw fail('unsupportedModel', `${where}: "${prefix}peft_type" is ${show(method)}; LORA was expected.`, {
        parameter: 'lora',
      });
    const alpha = all.number(`${prefix}lora_alpha`);
    const rootOfRank = all.boolean(`${prefix}use_rslora`, false);
    const patterns = readPatterns(all.raw(`${prefix}alpha_pattern`) ?? {}, `${where}: "${prefix}alpha_pattern"`, code);
    return ({ module }) => ({ alpha: patterns(module) ?? alpha, rootOfRank });
  };
  const whole = scaleUnder('');
  const scales = new Map(NETWORKS.map((network) => [network, scaleUnder(PREFIXES[network]) ?? whole]));
  return (place) => scales.get(place.network)?.(place);
}

const NETWORKS = ['unet', 'encoder1', 'encoder2', 'transformer'] as const satisfies readonly LoraNetwork[];

/**
 * `alpha_pattern`: the end of a layer's name, from a dot on → its alpha; the first that fits counts (peft, `get_pattern_key`).
 * peft takes them for regular expressions, but writes plain names.
 */
function readPatterns(json: unknown, where: string, code: ErrorCode): (module: string) => number | undefined {
  const table = fields(json, where, code);
  const patterns = new Map(
    Object.keys(typeof json === 'object' && json !== null ? json : {}).map((key, order) => {
      const name = key.replaceAll('\\.', '.');
      if (/^\^?[\w.-]+$/.test(name)) return [name, { order, alpha: table.number(key) }] as const;
      throw fail('unsupportedModel', `${where}: ${show(key)} is a regular expression; a layer's name was expected.`, {
        parameter: 'lora',
      });
    }),
  );
  return (module) => {
    const parts = module.split('.');
    const ends = [`^${module}`, ...parts.map((_, i) => parts.slice(i).join('.'))];
    const fitting = ends.flatMap((end) => patterns.get(end) ?? []);
    return fitting.sort((a, b) => a.order - b.order)[0]?.alpha;
  };
}
