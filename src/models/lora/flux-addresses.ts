/**
 * @file Which layers of FLUX.1's transformer an address in a LoRA file means. Most training tools name the original layers, where q, k and v
 * (and the MLP of single blocks) are one matrix: a change of it is then a change of several layers, each by some rows.
 */
import { fluxPlace } from '../layouts/flux.js';
import type { RowPart } from '../layouts/layout.js';

/** Which rows of a change are a layer's. */
export interface ChangeRows {
  /** These rows of the change are the layer's; all, where absent. */
  readonly part?: RowPart;
  /** The change has the second half of the rows first. */
  readonly swapped?: true;
}

/** A layer that a change is for. */
export interface FluxTarget extends ChangeRows {
  /** Internal, e.g. `transformer_blocks.0.attn.to_k`. */
  readonly module: string;
}

/** Before names of T5's layers: kohya's and OneTrainer's, diffusers', ComfyUI's. */
const T5_ADDRESS =
  /^(lora_te[23]_|text_encoder_2\.|text_encoders\.t5xxl\.transformer\.)(base_model\.model\.)?(shared$|encoder[._](block[._]\d+[._]layer[._]|final_layer_norm$|embed_tokens$))/;

/**
 * Whether an address is one of T5, FLUX.1's second text encoder. No LoRA changes it here, as none does in diffusers, whose `FluxLoraLoaderMixin` loads
 * transformer and CLIP alone (0.42.1, loaders/lora_pipeline.py, `_lora_loadable_modules`). ComfyUI changes it (comfy/lora.py, `lora_te2_`, `lora_te3_`).
 */
export function isT5Address(address: string): boolean {
  return T5_ADDRESS.test(address);
}

/** Address without prefix → its layers, by rows. */
export type FluxAddresses = ReadonlyMap<string, readonly FluxTarget[]>;

/** Before addresses whose words are joined by underscores: kohya's, the same with diffusers' names, and LyCORIS'. */
const UNDERSCORED = ['lora_unet_', 'lora_transformer_', 'lycoris_'];
/** Before dotted ones: diffusers' and ai-toolkit's, ComfyUI's, peft's wrapper. */
const DOTTED = ['transformer.', 'diffusion_model.', 'model.diffusion_model.', 'base_model.model.'];

/** All addresses of a transformer of these layers (`x_embedder`, `transformer_blocks.0.attn.to_q`, …), in diffusers', the original and XLabs' names. */
export function fluxAddresses(modules: Iterable<string>): FluxAddresses {
  const all = new Map<string, readonly FluxTarget[]>();
  const add = (address: string, target: FluxTarget): void => {
    const rows = [...(all.get(address) ?? []), target];
    all.set(address, rows.toSorted((a, b) => (a.part?.index ?? 0) - (b.part?.index ?? 0)));
  };
  for (const module of new Set(modules)) {
    all.set(module, [{ module }]);
    const place = fluxPlace(module);
    if (place === undefined) continue;
    const { module: original, ...rows } = place;
    add(original, { module, ...rows });
    const processor = processorOf(original, rows.part);
    if (processor !== undefined) add(processor.address, { module, ...processor.rows });
  }
  return all;
}

/** XLabs (github.com/XLabs-AI/x-flux): `…_lora1` is the image's, `…_lora2` the text's; of single blocks' first matrix only q, k and v. */
function processorOf(
  original: string,
  part: RowPart | undefined,
): { readonly address: string; readonly rows: { readonly part?: RowPart } } | undefined {
  const [, block = '', stream, layer] = /^(double_blocks\.\d+)\.(img|txt)_attn\.(qkv|proj)$/.exec(original) ?? [];
  const rows = part === undefined ? {} : { part };
  if (stream !== undefined) return { address: `${block}.processor.${layer}_lora${stream === 'img' ? 1 : 2}`, rows };
  const [, single = '', which] = /^(single_blocks\.\d+)\.linear([12])$/.exec(original) ?? [];
  if (which === '2') return { address: `${single}.processor.proj_lora`, rows };
  if (which === undefined || part === undefined || part.index > 2) return undefined;
  return { address: `${single}.processor.qkv_lora`, rows: { part: { index: part.index, of: 3 } } };
}

/** The layers of an address as a file spells it, or `undefined` when there is no such layer: one table look-up per prefix. */
export function createFluxAddressBook(modules: Iterable<string>): (address: string) => readonly FluxTarget[] | undefined {
  const dotted = fluxAddresses(modules);
  const underscored = new Map([...dotted].map(([address, targets]) => [address.replaceAll('.', '_'), targets]));
  return (address) => {
    for (const prefix of UNDERSCORED) {
      const found = address.startsWith(prefix) ? underscored.get(address.slice(prefix.length)) : undefined;
      if (found !== undefined) return found;
    }
    let rest = address;
    for (let prefix: string | undefined = ''; prefix !== undefined; prefix = DOTTED.find((start) => rest.startsWith(start))) {
      rest = rest.slice(prefix.length);
      const found = dotted.get(rest);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}
