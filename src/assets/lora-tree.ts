/** @file Which file of a tree is the LoRA: the file itself, or one that diffusers, peft or a person put into a folder or repo. */
import { fail } from '../base/errors.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ByteSource, FileTree } from './source.js';

export interface FoundLora {
  readonly source: ByteSource;
  /** `adapter_config.json` beside peft's own file. */
  readonly adapterConfig: ByteSource | undefined;
}

/** How diffusers' `save_lora_weights` and peft's `save_pretrained` name a file. */
const DIFFUSERS = 'pytorch_lora_weights.safetensors';
const PEFT = 'adapter_model.safetensors';
const WEIGHTS = /\.safetensors$/i;
const PICKLE = /\.(ckpt|pth?|bin)$/i;

/** @throws missingModelFile, unsupportedModel when there are several; what the file holds is not looked at */
export async function findLoraFile(tree: FileTree, signal?: AbortSignal): Promise<FoundLora> {
  const found =
    (await openFirst(tree, await candidates(tree, signal), signal)) ?? (await openAsFile(tree.asFile, signal));
  if (found !== undefined) return found;
  throw fail('missingModelFile', `${tree.name} has no LoRA file, or only a web page of that name.`, {
    parameter: 'lora',
    hint: `Give the address of the .safetensors file itself. In a folder, ${DIFFUSERS} and ${PEFT} are looked for.`,
  });
}

function openAsFile(tree: FileTree | undefined, signal: AbortSignal | undefined): Promise<FoundLora | undefined> {
  return tree?.file === undefined ? Promise.resolve(undefined) : openFirst(tree, [tree.file], signal);
}

async function openFirst(
  tree: FileTree,
  paths: readonly string[],
  signal: AbortSignal | undefined,
): Promise<FoundLora | undefined> {
  for (const path of paths) {
    const source = await openUnlessMarkup(tree, path, signal);
    if (source === undefined) continue;
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    const isPeft = path === folder + PEFT;
    return {
      source,
      adapterConfig: isPeft ? await openUnlessMarkup(tree, `${folder}adapter_config.json`, signal) : undefined,
    };
  }
  return undefined;
}

/** Where the LoRA of a tree may be, the likeliest first. */
async function candidates(tree: FileTree, signal: AbortSignal | undefined): Promise<readonly string[]> {
  if (tree.file !== undefined) return [tree.file];
  const named = `${tree.name.replace(/\/+$/, '').replace(/^.*\//s, '')}.safetensors`;
  const usual = [named, DIFFUSERS, PEFT];
  const listed = await tree.list?.(signal);
  if (listed === undefined) return usual;
  return [...usual.filter((path) => listed.includes(path)), ...onlyFile(listed, usual, tree)];
}

/** The only weights among files that are in no folder; a pickle where there is nothing else, to be refused when it is opened. */
function onlyFile(paths: readonly string[], usual: readonly string[], tree: FileTree): readonly string[] {
  const here = paths.filter((path) => !path.includes('/'));
  const weights = here.filter((path) => WEIGHTS.test(path));
  if (weights.some((path) => usual.includes(path))) return [];
  if (weights.length === 0) return here.filter((path) => PICKLE.test(path)).slice(0, 1);
  if (weights.length === 1) return weights;
  const some = weights.slice(0, 5).join(', ') + (weights.length > 5 ? ', …' : '');
  throw fail(
    'unsupportedModel',
    `${tree.name} holds ${weights.length} .safetensors files (${some}); one was expected.`,
    {
      parameter: 'lora',
      hint: 'Give the one file.',
    },
  );
}
