/**
 * @file Which layer of a model an address in a LoRA file means. Underscored addresses (`lora_unet_down_blocks_0_…`) cannot be told apart
 * from their own underscores, so all are looked up in tables made from the model's layers; nothing is guessed.
 */
import { ldmUNetLayout } from '../layouts/ldm-unet.js';
import { createFluxAddressBook, isT5Address, type ChangeRows, type FluxTarget } from './flux-addresses.js';

/** The networks that a LoRA may change. */
export type LoraNetwork = 'unet' | 'encoder1' | 'encoder2' | 'transformer';

/** A network of a model, by the weights that it has: internal names (those of diffusers, with `text_model.` before a text encoder's). */
export interface NetworkWeights {
  readonly network: LoraNetwork;
  readonly weights: Iterable<{ readonly name: string; readonly shape: readonly number[] }>;
}

/** A layer of a model. */
export interface LayerPlace {
  readonly network: LoraNetwork;
  /** Internal, e.g. `down_blocks.0.attentions.0.proj_in`. */
  readonly module: string;
  /** Found under the original code's name (`input_blocks.1.1.proj_in`). */
  readonly original: boolean;
  /** Where an address means several layers: the rows of the change that are this one's. Absent: all, as they are. */
  readonly rows?: ChangeRows;
}

export interface AddressBook {
  /**
   * The layers of an address: mostly one; in FLUX.1 q, k and v may be changed as one matrix. `unused`: a layer behind the last one of a text
   * encoder that the model runs; `t5`: one of FLUX.1's T5, which is not changed; `undefined`: no layer of this model.
   */
  find(address: string): readonly LayerPlace[] | 'unused' | 't5' | undefined;
  shapeOf(network: LoraNetwork, weight: string): readonly number[] | undefined;
}

interface Prefix {
  readonly start: string;
  readonly network: LoraNetwork;
  readonly underscored: boolean;
}

/** Of the first that fits, only that network is searched; the empty ones are for files that name none. */
const PREFIXES: readonly Prefix[] = [
  ...underscored('unet', 'lora_unet_', 'lycoris_'),
  ...underscored('encoder2', 'lora_te2_'),
  ...underscored('encoder1', 'lora_te1_', 'lora_te_'),
  ...dotted('unet', 'unet.', 'diffusion_model.', 'model.diffusion_model.'),
  ...dotted('encoder2', 'text_encoder_2.'),
  ...dotted('encoder1', 'text_encoder.', 'text_encoders.clip_l.transformer.'),
  ...dotted('encoder1', ''),
  ...dotted('unet', ''),
];

function underscored(network: LoraNetwork, ...starts: readonly string[]): readonly Prefix[] {
  return starts.map((start) => ({ start, network, underscored: true }));
}

function dotted(network: LoraNetwork, ...starts: readonly string[]): readonly Prefix[] {
  return starts.map((start) => ({ start, network, underscored: false }));
}

/** The layers of `networks` under all their addresses. */
export function createAddressBook(networks: readonly NetworkWeights[]): AddressBook {
  const tables = new Map(networks.map(({ network, weights }) => [network, createTable(network, weights)]));
  const transformer = tables.get('transformer');
  const findInFlux = transformer === undefined ? undefined : createFluxAddressBook(transformer.modules);

  const lookUp = ({ network, underscored: flat }: Prefix, rest: string): LayerPlace | 'unused' | undefined => {
    const table = tables.get(network);
    if (table === undefined) return undefined;
    const names = flat ? table.underscored : table.dotted;
    const found = names.get(rest);
    if (found !== undefined) return { network, ...found };
    return network !== 'unet' && names.has(asFirstLayer(rest)) ? 'unused' : undefined;
  };

  return {
    find(address) {
      const targets = findInFlux?.(address);
      if (targets !== undefined) return targets.map(toPlace);
      if (findInFlux !== undefined && isT5Address(address)) return 't5';
      const whole = withoutWrapper(address);
      for (const prefix of PREFIXES) {
        if (!whole.startsWith(prefix.start)) continue;
        const found = lookUp(prefix, withoutWrapper(whole.slice(prefix.start.length)));
        if (found === 'unused') return found;
        if (found !== undefined || prefix.start !== '') return found && [found];
      }
      return undefined;
    },
    shapeOf: (network, weight) => tables.get(network)?.shapes.get(weight),
  };
}

function toPlace({ module, part, swapped }: FluxTarget): LayerPlace {
  const place = { network: 'transformer', module, original: false } as const;
  if (part === undefined && swapped === undefined) return place;
  return { ...place, rows: { ...(part === undefined ? {} : { part }), ...(swapped === undefined ? {} : { swapped }) } };
}

/** What peft's wrapping of a model puts before names. */
const WRAPPER = 'base_model.model.';

function withoutWrapper(address: string): string {
  return address.startsWith(WRAPPER) ? address.slice(WRAPPER.length) : address;
}

/** The same address in a text encoder's first layer. */
function asFirstLayer(address: string): string {
  return address.replace(/^((?:text_model[._])?encoder[._]layers[._])\d+/, (_, before: string) => `${before}0`);
}

interface Alias {
  readonly module: string;
  readonly original: boolean;
}

interface Table {
  readonly modules: ReadonlySet<string>;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Address without prefix → module. */
  readonly dotted: ReadonlyMap<string, Alias>;
  readonly underscored: ReadonlyMap<string, Alias>;
}

function createTable(network: LoraNetwork, weights: NetworkWeights['weights']): Table {
  const shapes = new Map([...weights].map(({ name, shape }) => [name, shape] as const));
  const modules = new Set([...shapes.keys()].map((name) => name.replace(/\.(weight|bias)$/, '')));
  const originalOf = network === 'unet' ? originalNames(modules) : () => [];
  const all = [...modules].flatMap((module): (readonly [string, Alias])[] => [
    ...originalOf(module).map((name) => [name, { module, original: true }] as const),
    ...(network === 'unet' ? unetNames(module) : encoderNames(module)).map(
      (name) => [name, { module, original: false }] as const,
    ),
  ]);
  return {
    modules,
    shapes,
    dotted: new Map(all),
    underscored: new Map(all.map(([name, alias]) => [name.replaceAll('.', '_'), alias])),
  };
}

/** What the original code calls a layer of a UNet of these: kohya trains SDXL under such names. */
function originalNames(modules: ReadonlySet<string>): (module: string) => readonly string[] {
  const count = (pattern: RegExp): number =>
    new Set([...modules].flatMap((name) => pattern.exec(name)?.[0] ?? [])).size;
  const layout = ldmUNetLayout({
    levels: count(/^down_blocks\.\d+\./),
    layers: count(/^down_blocks\.0\.resnets\.\d+\./),
  });
  return (module) => layout.places(`${module}.weight`).map(({ name }) => name.replace(/\.weight$/, ''));
}

/** With the name of the attention processor that diffusers wrote until 0.21. */
function unetNames(module: string): readonly string[] {
  const [, attention, layer] = /^(.+\.attn[12]\.)(to_(?:q|k|v|out))(?:\.0)?$/.exec(module) ?? [];
  return attention === undefined ? [module] : [module, `${attention}processor.${layer}`];
}

/** With and without `text_model.`; the projections of attention also as diffusers wrote them until 0.18. */
function encoderNames(module: string): readonly string[] {
  const old = module.replace(/\.self_attn\.(q|k|v|out)_proj$/, '.self_attn.to_$1');
  return [module, old].flatMap((name) => [name, name.replace(/^text_model\./, '')]);
}
