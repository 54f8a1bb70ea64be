/** @file FLUX.1 with ControlNets at micro size, written to disk: the golden transformer, autoencoder and nets, beside the text encoders of the tiny model. */
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const GOLDEN = join(import.meta.dirname, 'golden');
const UNIT = join(GOLDEN, 'unit/flux-controlnet');
const TINY = join(GOLDEN, 'models/flux-dev-tiny');

/** Writes the model `flux` and the union ControlNet `flux-union` into `root`. @returns what its golden pictures are asked for with, and a guide */
export async function writeMicroFlux(root: string): Promise<{ readonly request: object; readonly guideImage: string }> {
  const golden = JSON.parse(await readFile(join(UNIT, 'case.json'), 'utf8')) as Record<string, object>;
  const model = join(root, 'flux');
  await mkdir(model);
  for (const part of ['text_encoder', 'text_encoder_2', 'tokenizer', 'tokenizer_2', 'scheduler'])
    await symlink(join(TINY, part), join(model, part));
  await cp(join(TINY, 'model_index.json'), join(model, 'model_index.json'));
  for (const [part, into] of [
    ['transformer', join(model, 'transformer')],
    ['vae', join(model, 'vae')],
    ['union', join(root, 'flux-union')],
  ] as const) {
    await mkdir(into);
    await writeFile(join(into, 'config.json'), JSON.stringify(golden[part]));
    await cp(join(UNIT, `${part}.safetensors`), join(into, 'diffusion_pytorch_model.safetensors'));
  }
  const guideImage = `data:image/png;base64,${(await readFile(join(UNIT, 'guide.png'))).toString('base64')}`;
  return { request: golden['request'] ?? {}, guideImage };
}
