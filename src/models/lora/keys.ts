/**
 * @file The tensors of a LoRA or LyCORIS file by layer: a tensor's name is the address of a layer and a part of what changes it.
 * Every training tool spells both in its own way; addresses are looked up in addresses.ts.
 */
import { fail } from '../../base/errors.js';
import type { TensorShapes } from '../layouts/layout.js';

/** The parts that are known. LyCORIS' names where it has one (the guidelines of github.com/KohakuBlueleaf/LyCORIS). */
export type Part =
  | 'down'
  | 'up'
  | 'mid'
  | 'alpha'
  | 'dora_scale'
  | 'magnitude'
  | `hada_w${1 | 2}_${'a' | 'b'}`
  | `hada_t${1 | 2}`
  | `lokr_w${1 | 2}`
  | `lokr_w${1 | 2}_${'a' | 'b'}`
  | 'lokr_t2'
  | 'diff'
  | 'diff_b'
  | 'w_norm'
  | 'b_norm';

/** A tensor of the file. */
export interface LoraTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/** What the file has for one layer. */
export interface LoraLayer {
  /** As the file spells it: `lora_unet_mid_block_attentions_0_proj_in`, `unet.mid_block.attentions.0.proj_in`, …. */
  readonly address: string;
  readonly parts: ReadonlyMap<Part, LoraTensor>;
}

/** Adapters of peft may have a name: `lora_A.default.weight`. */
const ADAPTER = String.raw`(?:\.[^.]+)?`;

/** XLabs' attention processors of FLUX.1, whose addresses say which layer and which of the two texts and images. */
const XLABS = String.raw`_blocks\.\d+\.processor\.(?:qkv|proj)_lora[12]?`;

/**
 * kohya and LyCORIS write `.lora_down.weight`; diffusers wrote `_lora.down.weight`, then `.lora.down.weight`,
 * `.lora_linear_layer.down.weight`, and now peft's `.lora_A.weight`.
 */
const ENDINGS: readonly (readonly [RegExp, (match: string) => Part | undefined])[] = [
  ending(String.raw`(?<=${XLABS})\.down\.weight`, 'down'),
  ending(String.raw`(?<=${XLABS})\.up\.weight`, 'up'),
  ending(String.raw`(?:[._]lora\.down|\.lora_linear_layer\.down|\.lora_down|\.lora_A${ADAPTER})\.weight`, 'down'),
  ending(String.raw`(?:[._]lora\.up|\.lora_linear_layer\.up|\.lora_up|\.lora_B${ADAPTER})\.weight`, 'up'),
  ending(String.raw`\.lora_mid\.weight`, 'mid'),
  ending(String.raw`\.lora_magnitude_vector${ADAPTER}`, 'magnitude'),
  [
    /\.(alpha|dora_scale|hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|diff|diff_b|w_norm|b_norm)$/,
    (match) => NAMED.find((part) => `.${part}` === match),
  ],
];

function ending(pattern: string, part: Part): readonly [RegExp, () => Part] {
  return [new RegExp(`${pattern}$`), () => part];
}

const SIDES = [1, 2] as const;
const NAMED: readonly Part[] = [
  ...(['alpha', 'dora_scale', 'lokr_t2', 'diff', 'diff_b', 'w_norm', 'b_norm'] as const),
  ...SIDES.flatMap((i) => [`hada_w${i}_a`, `hada_w${i}_b`, `hada_t${i}`] as const),
  ...SIDES.flatMap((i) => [`lokr_w${i}`, `lokr_w${i}_a`, `lokr_w${i}_b`] as const),
];

/**
 * The tensors of `file` by layer, in the order of the file, but for those of no known part; the time is linear in their number.
 * @throws invalidModelFile when a layer has a part twice (two adapters in one file, say)
 */
export function groupLayers(tensors: TensorShapes, file: string): readonly LoraLayer[] {
  const layers = new Map<string, Map<Part, LoraTensor>>();
  for (const [name, { shape }] of tensors) {
    const key = splitKey(name);
    if (key === undefined) continue;
    const parts = layers.get(key.address) ?? new Map<Part, LoraTensor>();
    const twin = parts.get(key.part);
    if (twin !== undefined) {
      throw fail(
        'invalidModelFile',
        `${file}: ${showKey(twin.name)} and ${showKey(name)} are the same part of one layer.`,
        {
          hint: 'A file with one adapter was expected.',
        },
      );
    }
    layers.set(key.address, parts.set(key.part, { name, shape }));
  }
  return [...layers].map(([address, parts]) => ({ address, parts }));
}

/** A tensor's name or a layer's address in a message, cut where it is absurd: real ones have up to 110 characters. */
export function showKey(name: string): string {
  return JSON.stringify(name.length > 160 ? `${name.slice(0, 160)}…` : name);
}

function splitKey(name: string): { readonly address: string; readonly part: Part } | undefined {
  for (const [pattern, partOf] of ENDINGS) {
    const match = pattern.exec(name);
    const part = match === null ? undefined : partOf(match[0]);
    if (match !== null && part !== undefined && match.index > 0) return { address: name.slice(0, match.index), part };
  }
  return undefined;
}
