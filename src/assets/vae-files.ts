/** @file An autoencoder given by itself (`vae` of a request): its own folder, or the one inside a model folder. */
import { fail } from '../base/errors.js';
import { AUTOENCODER_LAYOUT } from '../models/layouts/diffusers.js';
import { openUnlessMarkup } from './file-kind.js';
import type { ComponentFiles } from './model-files.js';
import type { FileTree } from './source.js';
import { CONFIG_LIMIT, readJson } from './text-file.js';
import { openWeights } from './weights.js';

/** @throws missingModelFile, invalidModelConfig, downloadFailed, aborted */
export async function readVaeFolder(tree: FileTree, signal?: AbortSignal): Promise<ComponentFiles> {
  for (const folder of [asVaeFolder(tree), tree]) {
    const source = await openUnlessMarkup(folder, 'vae/config.json', signal);
    if (source === undefined) continue;
    const config = await readJson(source, CONFIG_LIMIT, signal);
    const open: ComponentFiles['open'] = (openSignal, onBytes) =>
      openWeights(folder, 'vae', ['diffusion_pytorch_model'], {
        layout: AUTOENCODER_LAYOUT,
        signal: openSignal,
        onBytes,
      });
    return { config, open };
  }
  throw fail('missingModelFile', `${tree.name} has neither config.json nor vae/config.json.`, {
    parameter: 'vae',
    hint: 'A VAE is given as a folder with config.json and diffusion_pytorch_model.safetensors.',
  });
}

/** The tree of which `tree` is the `vae` folder. */
function asVaeFolder(tree: FileTree): FileTree {
  return { name: tree.name, open: (path, signal, onBytes) => tree.open(path.replace(/^vae\//, ''), signal, onBytes) };
}
