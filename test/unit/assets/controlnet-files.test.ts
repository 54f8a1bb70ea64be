/** @file A ControlNet's files: a single file equals the folder it was made from; configs from shapes at real size; what a file is instead. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memoryTree } from '../../../src/assets/file-tree.js';
import type { ComponentFiles } from '../../../src/assets/model-files.js';
import { openControlNetFiles } from '../../../src/assets/open-model.js';
import type { FileTree } from '../../../src/assets/source.js';
import { urlTree } from '../../../src/assets/url-tree.js';
import { parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { ldmControlNetLayout } from '../../../src/models/layouts/ldm-controlnet.js';
import { folderTree } from '../../../scripts/lib/folder-tree.js';
import { problemOf, safetensors, utf8, type Stored } from './support.js';

const GOLDEN = new URL('../../golden/', import.meta.url);
const golden = (name: string): FileTree => folderTree(new URL(`models/${name}`, GOLDEN).pathname);
const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(new URL(`models/${path}`, GOLDEN)));
const problem = (tree: FileTree) => problemOf(() => openControlNetFiles(tree));

/** Tensors of the folder that the other has too, equal in shape and in every value; and the names of those that differ. */
async function compare(one: ComponentFiles, folder: ComponentFiles): Promise<unknown> {
  const [a, b] = await Promise.all([one.open(), folder.open()]);
  const different: string[] = [];
  for (const name of b.tensors.keys()) {
    const same =
      a.find(name)?.shape.join() === b.find(name)?.shape.join() &&
      Buffer.from(await a.bytes(name)).equals(Buffer.from(await b.bytes(name)));
    if (!same) different.push(name);
  }
  return { tensors: b.tensors.size, others: a.tensors.size - b.tensors.size, different };
}

describe('a single file', () => {
  const FILE = bytesOf('controlnet-single/controlnet-single.safetensors');
  const CONFIG = bytesOf('controlnet-single/config/config.json');
  const ALL_338 = { tensors: 338, others: 0, different: [] };

  it('equals the folder it was made from, tensor by tensor', async () => {
    const [single, folder] = await Promise.all(
      ['controlnet-single', 'controlnet-sd15-edges'].map((name) => openControlNetFiles(golden(name))),
    );
    if (single === undefined || folder === undefined) throw new Error('two were opened');
    expect(await compare(single, folder)).toEqual(ALL_338);
    expect(single.config).toEqual(folder.config);
  });

  it('may be without prefix, and have any name', async () => {
    const size = Number(new DataView(FILE.buffer, FILE.byteOffset).getBigUint64(0, true));
    const header = Buffer.from(FILE.subarray(8, 8 + size)).toString();
    const bare = header.replaceAll('"control_model.', '"').padEnd(size);
    const file = Uint8Array.from([...FILE.subarray(0, 8), ...utf8(bare), ...FILE.subarray(8 + size)]);
    const single = await openControlNetFiles(memoryTree('m', { 'x.safetensors': file, 'config/config.json': CONFIG }));
    const folder = await openControlNetFiles(golden('controlnet-sd15-edges'));
    expect(await compare(single, folder)).toEqual(ALL_338);
  });

  it('may be in diffusers’ layout', async () => {
    const file = bytesOf('controlnet-sdxl-edges/diffusion_pytorch_model.safetensors');
    const config = bytesOf('controlnet-sdxl-edges/config.json');
    const folder = await openControlNetFiles(golden('controlnet-sdxl-edges'));
    const single = await openControlNetFiles(memoryTree('m', { 'e.safetensors': file, 'config/config.json': config }));
    expect(await compare(single, folder)).toMatchObject({ others: 0, different: [] });
    expect(single.config).toEqual(folder.config);
  });

  it('may be at a URL, with config/ beside it', async () => {
    const files = new Map([
      ['/x/e.safetensors', FILE],
      ['/x/config/config.json', CONFIG],
    ]);
    const deps = {
      fetch: (url: RequestInfo | URL) => {
        const bytes = files.get(new URL(url instanceof Request ? url.url : url).pathname);
        return Promise.resolve(bytes ? new Response(bytes.slice()) : new Response('', { status: 404 }));
      },
    };
    const single = await openControlNetFiles(urlTree('https://h/x/e.safetensors', deps));
    expect(single.config).toEqual(JSON.parse(Buffer.from(CONFIG).toString()));
  });

  it('of unknown widths needs its config', async () => {
    const found = await problem(memoryTree('m', { 'x.safetensors': FILE }));
    expect(found).toMatchObject({ code: 'invalidModelFile', parameter: 'controlNet.model' });
    expect(found.hint).toContain('config/config.json');
  });

  it('cut short or with blocks missing is refused', async () => {
    expect(await problem(memoryTree('m', { 'x.safetensors': FILE.subarray(0, -9) }))).toMatchObject({
      code: 'invalidModelFile',
    });
    const part = safetensors({ 'control_model.zero_convs.0.0.weight': EMPTY });
    const found = await problem(memoryTree('m', { 'x.safetensors': part }));
    expect(found).toMatchObject({ code: 'invalidModelFile', parameter: 'controlNet.model' });
    expect(found.message).toContain('incomplete');
  });
});

const EMPTY: Stored = { dtype: 'F16', shape: [0], bytes: new Uint8Array() };

type Tensors = Readonly<Record<string, readonly number[]>>;
interface Published {
  readonly config: unknown;
  readonly tensors: Tensors;
}

const published = (name: string): Published =>
  JSON.parse(readFileSync(new URL(`published/${name}.json`, GOLDEN), 'utf8')) as Published;

/** A file of these shapes with holes for bytes: only its header is read. */
function hollow(tensors: Tensors): FileTree {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, shape] of Object.entries(tensors)) {
    const end = at + 2 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'F16', shape, data_offsets: [at, end] };
    at = end;
  }
  const text = utf8(JSON.stringify(header));
  const head = new Uint8Array(8 + text.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(text.length), true);
  head.set(text, 8);
  const source = {
    name: 'net.safetensors',
    size: head.length + at,
    read: (start: number, end: number) => {
      const bytes = new Uint8Array(end - start);
      bytes.set(head.subarray(start, end));
      return Promise.resolve(bytes);
    },
  };
  const tree = { name: 'net', file: 'net.safetensors' };
  return { ...tree, open: (path) => Promise.resolve(path === 'net.safetensors' ? source : undefined) };
}

const BLOCKS = {
  'sd15-controlnet': { levels: 4, layers: 2, lastHint: 14 },
  'sdxl-controlnet': { levels: 3, layers: 2, lastHint: 14 },
};

describe.each(['sd15-controlnet', 'sdxl-controlnet'] as const)('%s at real size, without a config', (name) => {
  const { config, tensors } = published(name);

  it('in diffusers’ layout: the shapes and the family tell the published config', async () => {
    const files = await openControlNetFiles(hollow(tensors));
    expect(parseControlNetConfig(files.config)).toEqual(parseControlNetConfig(config));
  });

  it('in the original layout', async () => {
    const layout = ldmControlNetLayout(BLOCKS[name]);
    const renamed = Object.entries(tensors).map(([internal, shape]) => [
      `control_model.${layout.places(internal)[0]?.name ?? ''}`,
      shape,
    ]);
    const files = await openControlNetFiles(hollow(Object.fromEntries(renamed) as Tensors));
    expect(parseControlNetConfig(files.config)).toEqual(parseControlNetConfig(config));
  });

  it('with transformers of unequal depth is refused', async () => {
    const block = Object.keys(tensors).find((tensor) =>
      /^down_blocks\.1\.attentions\.1\..*\.0\.norm1\.weight$/.test(tensor),
    );
    const rest = Object.fromEntries(Object.entries(tensors).filter(([tensor]) => tensor !== block));
    expect(Object.keys(rest)).toHaveLength(Object.keys(tensors).length - 1);
    expect(await problem(hollow(rest))).toMatchObject({ code: 'unsupportedModel' });
  });
});

describe('a folder', () => {
  it('needs weights that are no pickle', async () => {
    const config = { 'config.json': bytesOf('controlnet-sd15-edges/config.json') };
    const open = async (more: Readonly<Record<string, Uint8Array>>): Promise<unknown> =>
      (await openControlNetFiles(memoryTree('m', { ...config, ...more }))).open();
    expect(await problemOf(() => open({}))).toMatchObject({ code: 'missingModelFile' });
    const pickle = { 'diffusion_pytorch_model.bin': utf8('PK\x03\x04') };
    expect(await problemOf(() => open(pickle))).toMatchObject({ code: 'pickleRefused' });
    expect(await problem(memoryTree('m', pickle))).toMatchObject({ code: 'pickleRefused' });
  });

  it('with nothing in it says so', async () => {
    expect(await problem(memoryTree('m', {}))).toMatchObject({
      code: 'missingModelFile',
      parameter: 'controlNet.model',
    });
  });

  it('stops when aborted', async () => {
    const tree = memoryTree('m', { 'config.json': bytesOf('controlnet-sd15-edges/config.json') });
    const found = await problemOf(() => openControlNetFiles(tree, AbortSignal.abort()));
    expect(found.code).toBe('aborted');
  });
});

describe('what else a file can be', () => {
  const HINT = 'input_hint_block.0.weight';
  it.each<[string, readonly string[], string]>([
    ['a Control-LoRA', ['lora_controlnet', HINT, 'input_blocks.1.0.emb_layers.1.down'], 'a Control-LoRA'],
    ['LLLite', ['lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.down.0.weight'], 'LLLite'],
    ['a difference', ['difference', `control_model.${HINT}`], 'its difference from a model'],
    [
      'a union net',
      ['controlnet_cond_embedding.conv_in.weight', 'task_embedding', 'control_add_embedding.linear_1.weight'],
      'union',
    ],
    [
      'ControlNet-XS',
      ['controlnet_cond_embedding.conv_in.weight', 'down_blocks.0.base_to_ctrl.0.weight'],
      'a ControlNet-XS',
    ],
    ['an SD 3 net', ['pos_embed.proj.weight', 'controlnet_blocks.0.weight'], 'Stable Diffusion 3'],
    [
      'another transformer’s',
      ['controlnet_blocks.0.weight', 'transformer_blocks.0.norm1.linear.weight'],
      'for a transformer',
    ],
    ['a T2I-Adapter', ['adapter.body.0.resnets.0.block1.weight'], 'a T2I-Adapter'],
    ['a LoRA', ['lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight'], 'a LoRA'],
    ['a UNet', ['down_blocks.0.resnets.0.time_emb_proj.weight'], 'a UNet alone'],
  ])('%s', async (_, names, what) => {
    const file = safetensors(Object.fromEntries(names.map((name) => [name, EMPTY])));
    const found = await problem(memoryTree('m', { 'x.safetensors': file }));
    expect(found).toMatchObject({ code: 'unsupportedModel', parameter: 'controlNet.model' });
    expect(found.message).toContain(what);
  });

  it('a net for FLUX.1 that is incomplete, or does not say how the guide comes in', async () => {
    const names = [
      'controlnet_x_embedder.weight',
      'controlnet_blocks.0.weight',
      'transformer_blocks.0.norm1.linear.weight',
    ];
    const file = safetensors(Object.fromEntries(names.map((name) => [name, EMPTY])));
    const part = await problem(memoryTree('m', { 'x.safetensors': file }));
    expect(part).toMatchObject({ code: 'invalidModelFile' });
    expect(part.message).toContain('incomplete');
    const blocks = ['controlnet_blocks.0.weight', 'double_blocks.0.img_attn.qkv.weight'];
    const blind = safetensors(Object.fromEntries(blocks.map((name) => [name, EMPTY])));
    const found = await problem(memoryTree('m', { 'x.safetensors': blind }));
    expect(found).toMatchObject({ code: 'invalidModelFile', parameter: 'controlNet.model' });
  });

  it('a checkpoint', async () => {
    const found = await problem(golden('sd15-single-bf16-junk'));
    expect(found).toMatchObject({ code: 'unsupportedModel', hint: 'Use it as model.' });
  });

  it('nothing that is known', async () => {
    const file = safetensors({ 'a.weight': { dtype: 'F16', shape: [1], bytes: new Uint8Array(2) }, 'b.weight': EMPTY });
    expect(await problem(memoryTree('m', { 'x.safetensors': file }))).toMatchObject({ code: 'invalidModelFile' });
  });
});
