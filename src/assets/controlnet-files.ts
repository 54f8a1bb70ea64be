/**
 * @file A ControlNet's files: its diffusers folder, or one .safetensors file in diffusers' or an original layout, with its config in
 * `config/` beside it where there is one, else from the shapes and the family. For a UNet or for FLUX.1; nothing after it knows the layout.
 */
import { fail } from '../base/errors.js';
import { fields } from '../base/fields.js';
import { FAMILY_FACTS } from '../models/checkpoint-families.js';
import { FLUX_CONTROLNET_CLASS } from '../models/configs/flux-controlnet.js';
import { controlNetConfig } from '../models/configs-from-shapes.js';
import { detectFile, type FileContents } from '../models/detect.js';
import { fluxControlNetConfig } from '../models/flux-controlnet-from-shapes.js';
import { UNET_LAYOUT } from '../models/layouts/diffusers.js';
import { isXLabsControlNet, XLABS_CONTROLNET_LAYOUT } from '../models/layouts/flux-controlnet.js';
import { ldmControlNetLayout, readLdmControlNetBlocks } from '../models/layouts/ldm-controlnet.js';
import { tensorsUnder, withPrefix, type TensorShapes, type WeightLayout } from '../models/layouts/layout.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ComponentFiles } from './model-files.js';
import { findOneFile } from './one-file.js';
import { openSafetensors } from './safetensors.js';
import type { ByteSource, FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { openWeights, viewWeights, type WeightFile } from './weights.js';

const PARAMETER = 'controlNet.model';

/** The files, and what the net steers. */
export interface ControlNetFiles extends ComponentFiles {
  readonly kind: 'unet' | 'flux';
}

/**
 * A ControlNet: a tree with config.json is its diffusers folder; else its one .safetensors file, in diffusers' or an original layout.
 * @throws missingModelFile, unsupportedModel (says what the file is instead), invalidModelFile, pickleRefused, invalidModelConfig,
 *   downloadFailed, aborted
 */
export async function openControlNetFiles(tree: FileTree, signal?: AbortSignal): Promise<ControlNetFiles> {
  const config = tree.file === undefined ? await openUnlessMarkup(tree, 'config.json', signal) : undefined;
  if (config === undefined) {
    const wanted = { what: 'a ControlNet', parameter: PARAMETER, usual: [`${STEM}.safetensors`] };
    return readFile(tree, await findOneFile(tree, wanted, signal), signal);
  }
  const json = await readJson(config, CONFIG_LIMIT, signal);
  return {
    kind: fields(json, config.name).raw('_class_name') === FLUX_CONTROLNET_CLASS ? 'flux' : 'unet',
    config: json,
    // Names are today's in both kinds.
    open: (openSignal, onBytes) => openWeights(tree, '', [STEM], { layout: UNET_LAYOUT, signal: openSignal, onBytes }),
  };
}

/** Name of the weights in a folder, without ending. */
const STEM = 'diffusion_pytorch_model';

/** Reads a file's header and the config beside it; no weights. */
async function readFile(tree: FileTree, source: ByteSource, signal: AbortSignal | undefined): Promise<ControlNetFiles> {
  const { tensors: infos, metadata } = await openSafetensors(source, signal);
  const found = detectFile({ tensors: infos, metadata });
  refuseOthers(source.name, infos, found);
  const tensors = new Map([...infos].map(([name, info]) => [name, { ...info, source }]));
  const kind = found.family === 'flux' ? 'flux' : 'unet';
  const layout = kind === 'flux' ? fluxLayoutOf(source.name, tensors) : layoutOf(source.name, tensors);
  const weights = viewWeights(source.name, tensors, layout);
  const given = await openBeside(tree, signal);
  const config = given === undefined ? configOf(weights, found.family) : await readJson(given, CONFIG_LIMIT, signal);
  return { kind, config, open: () => Promise.resolve(weights) };
}

async function openBeside(tree: FileTree, signal: AbortSignal | undefined): Promise<ByteSource | undefined> {
  for (const folder of [tree, tree.asFile]) {
    const source = folder && (await openUnlessMarkup(folder, 'config/config.json', signal));
    if (source !== undefined) return source;
  }
  return undefined;
}

/** Nets that steer a UNet in another way, or another network, each known by a name that only it has. */
const OTHER_NETS: readonly { readonly has: RegExp; readonly what: string }[] = [
  { has: /^lora_controlnet$/, what: 'a Control-LoRA' },
  { has: /^lllite_unet_/, what: 'a ControlNet-LLLite' },
  { has: /^difference$/, what: 'a ControlNet stored as its difference from a model' },
  {
    has: /(^|\.)(task_embedding$|control_add_embedding\.)/,
    what: 'a union ControlNet (one net for several kinds of guides)',
  },
  { has: /\.(base_to_ctrl|ctrl_to_base)\./, what: 'a ControlNet-XS' },
  { has: /^(controlnext|down_res|mid_convs)\./, what: 'a ControlNeXt net' },
  { has: /^(controlnet_)?(pos_embed|pos_embed_input|joint_blocks)\./, what: 'a ControlNet for Stable Diffusion 3' },
  { has: /^controlnet_blocks\./, what: 'a ControlNet for a transformer that is not known' },
  { has: /\.motion_modules\./, what: 'a SparseCtrl net for videos' },
];

function refuseOthers(name: string, tensors: TensorShapes, found: FileContents): void {
  if (found.kind === 'controlnet' && found.family === 'flux') return;
  const names = [...tensors.keys()];
  const other = OTHER_NETS.find(({ has }) => names.some((tensor) => has.test(tensor)));
  if (other !== undefined) {
    throw fail(
      'unsupportedModel',
      `${name} is ${other.what}; a ControlNet for Stable Diffusion 1, 2 or XL or for FLUX.1 was expected.`,
      {
        parameter: PARAMETER,
        hint: 'Use the plain ControlNet of the same kind.',
      },
    );
  }
  if (found.kind === 'controlnet') return;
  const code = found.kind === 'unknown' ? 'invalidModelFile' : 'unsupportedModel';
  const { what, hint } = found.kind === 'checkpoint' ? { what: 'a checkpoint', hint: 'Use it as model.' } : found;
  throw fail(code, `${name} is ${what}, not a ControlNet.`, { parameter: PARAMETER, hint });
}

/** The part of every layout that only FLUX.1's have. */
const FLUX_FIRST = 'controlnet_x_embedder.weight';

function fluxLayoutOf(name: string, tensors: TensorShapes): WeightLayout {
  if (tensors.has(FLUX_FIRST)) return UNET_LAYOUT; // its names are today's, as a UNet's are
  if (isXLabsControlNet(tensors)) return XLABS_CONTROLNET_LAYOUT;
  throw fail('invalidModelFile', `${name} is a ControlNet for FLUX.1 that does not say how the guide comes in.`, {
    parameter: PARAMETER,
    hint: "Those in diffusers' layout and XLabs' are read: their file has controlnet_x_embedder or pos_embed_input.",
  });
}

/** Of every form, the first convolution of the guide's embedding. */
const DIFFUSERS_FIRST = 'controlnet_cond_embedding.conv_in.weight';
const LDM_FIRST = 'input_hint_block.0.weight';

function layoutOf(name: string, tensors: TensorShapes): WeightLayout {
  if (tensors.has(DIFFUSERS_FIRST)) return UNET_LAYOUT; // its names are today's, as a UNet's are
  const prefix = ['control_model.', ''].find((before) => tensors.has(before + LDM_FIRST));
  if (prefix !== undefined) {
    const blocks = readLdmControlNetBlocks(tensorsUnder(prefix, tensors).keys());
    if (blocks !== undefined) return withPrefix(prefix, ldmControlNetLayout(blocks));
  }
  throw fail('invalidModelFile', `${name} is a ControlNet with blocks missing: it is incomplete.`, {
    parameter: PARAMETER,
  });
}

/** What the shapes do not tell is the family's, and the family is told by the width of the text states. */
function configOf(weights: WeightFile, family: FileContents['family']): unknown {
  const shapeOf = (internal: string): readonly number[] | undefined => weights.find(internal)?.shape;
  if (family === 'flux') return fluxControlNetConfig(shapeOf, weights.name);
  if (family !== undefined) return controlNetConfig(shapeOf, FAMILY_FACTS[family], weights.name);
  throw fail('invalidModelFile', `${weights.name}: its text states have a width that no known model has.`, {
    parameter: PARAMETER,
    hint: 'Put its diffusers config beside the file, as config/config.json.',
  });
}
