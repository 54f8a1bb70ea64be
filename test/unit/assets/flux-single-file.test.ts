/**
 * @file FLUX.1 checkpoints of one file at the size of the published models, by their headers alone: what they are, what their configs are, and
 * where their other parts come from.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { FluxFiles } from '../../../src/assets/model-files.js';
import { openModelFiles, type OpenModelOptions } from '../../../src/assets/open-model.js';
import type { ByteSource, FileTree } from '../../../src/assets/source.js';
import { elementCount } from '../../../src/base/dtype.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../../../src/models/configs/clip-text.js';
import { parseFluxTransformerConfig } from '../../../src/models/configs/flux-transformer.js';
import { parseT5Config } from '../../../src/models/configs/t5.js';
import { FLUX_LAYOUT } from '../../../src/models/layouts/flux.js';
import { folderTree, problemOf, utf8 } from './support.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const published = (name: string): { readonly config: unknown; readonly tensors: Shapes } =>
  JSON.parse(readFileSync(new URL(`../../golden/published/${name}.json`, import.meta.url), 'utf8')) as {
    readonly config: unknown;
    readonly tensors: Shapes;
  };
const [dev, clip, t5, vae, clipG] = [
  published('flux-dev'),
  published('clip-l'),
  published('t5-xxl-encoder'),
  published('flux-vae'),
  published('clip-g'),
];

/** The transformer as flux1-dev.safetensors has it: what FLUX_LAYOUT says of each weight, put together. */
const flux1Dev = ((): Shapes => {
  const rows = new Map<string, readonly [rows: number, rest: readonly number[]]>();
  for (const [internal, [height = 0, ...rest]] of Object.entries(dev.tensors)) {
    for (const { name } of FLUX_LAYOUT.places(internal)) {
      rows.set(name, [(rows.get(name)?.[0] ?? 0) + height, rest]);
    }
  }
  return Object.fromEntries([...rows].map(([name, [height, rest]]) => [name, [height, ...rest]]));
})();
const flux1Schnell = without(flux1Dev, 'guidance_in.');

function without(shapes: Shapes, beginning: string): Shapes {
  return Object.fromEntries(Object.entries(shapes).filter(([name]) => !name.startsWith(beginning)));
}

function prefixed(prefix: string, shapes: Shapes): Shapes {
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));
}

/** A float16 file of these tensors that has only its header. */
function headerOnly(name: string, shapes: Shapes): ByteSource {
  let at = 0;
  const entries = Object.entries(shapes).map(([tensor, shape]) => {
    const start = at;
    at += 2 * elementCount(shape);
    return [tensor, { dtype: 'F16', shape, data_offsets: [start, at] }];
  });
  const text = utf8(JSON.stringify(Object.fromEntries(entries)));
  const head = new Uint8Array(8 + text.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(text.length), true);
  head.set(text, 8);
  return { ...memorySource(name, head), size: head.length + at };
}

type Contents = Readonly<Record<string, Shapes | string | Uint8Array>>;

/** A folder that can be listed; text and bytes are files, shapes are headers of weights. */
function folder(name: string, contents: Contents, file?: string): FileTree {
  return {
    name,
    open(path) {
      const found = Object.hasOwn(contents, path) ? contents[path] : undefined;
      if (found === undefined) return Promise.resolve(undefined);
      const bytes = typeof found === 'string' ? utf8(found) : found;
      const source = bytes instanceof Uint8Array ? memorySource(`${name}/${path}`, bytes) : undefined;
      return Promise.resolve(source ?? headerOnly(`${name}/${path}`, found as Shapes)); // not text, not bytes
    },
    list: () => Promise.resolve(Object.keys(contents)),
    ...(file === undefined ? {} : { file }),
  };
}

/** The same over a URL, which lists nothing. */
function remote(tree: FileTree): FileTree {
  const { name, file } = tree;
  return { name, open: (path) => tree.open(path), ...(file === undefined ? {} : { file }) };
}

const TOKENIZER = '{"model": {"type": "Unigram"}}';
const MODEL: Contents = {
  'model_index.json': '{"_class_name": "FluxPipeline"}',
  'text_encoder/config.json': JSON.stringify(clip.config),
  'text_encoder/model.safetensors': clip.tensors,
  'text_encoder_2/config.json': JSON.stringify(t5.config),
  'text_encoder_2/model.safetensors': t5.tensors,
  'tokenizer_2/tokenizer.json': TOKENIZER,
  'vae/config.json': JSON.stringify(vae.config),
  'vae/diffusion_pytorch_model.safetensors': vae.tensors,
};
const schnell = remote(folder('schnell', MODEL));
const clipTokenizer = folderTree('models/clip-tokenizer');

async function open(tree: FileTree, options: OpenModelOptions = {}): Promise<FluxFiles> {
  const files = await openModelFiles(tree, { clipTokenizer, ...options });
  if (files.architecture !== 'flux') throw new Error(files.architecture);
  return files;
}

/** Configs as they are used; derived ones have fewer keys than published ones. */
const parsed = ({ transformer, clip, t5, vae }: FluxFiles): readonly unknown[] => [
  parseFluxTransformerConfig(transformer.config),
  // the published text encoder says where its end token is; files cannot, and the largest id is the same row
  { ...parseClipTextConfig(clip.config), eosTokenId: 2 },
  parseT5Config(t5.config),
  parseAutoencoderKLConfig(vae.config),
];
const expected = [
  parseFluxTransformerConfig(dev.config),
  { ...parseClipTextConfig(clip.config), eosTokenId: 2, projectionDim: 512 },
  parseT5Config(t5.config),
  parseAutoencoderKLConfig(vae.config),
];
const withProjection = expected.with(1, { ...parseClipTextConfig(clip.config), eosTokenId: 2 });

async function wrongShapes({ transformer, clip: c, t5: t, vae: v }: FluxFiles): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const [files, { tensors }] of [
    [transformer, dev],
    [c, clip],
    [t, t5],
    [v, vae],
  ] as const) {
    const weights = await files.open();
    wrong.push(...Object.keys(tensors).filter((name) => weights.find(name)?.shape.join() !== tensors[name]?.join()));
  }
  return wrong;
}

describe('a transformer alone', () => {
  const file = remote(folder('m', { 'flux1-dev.safetensors': flux1Dev }, 'flux1-dev.safetensors'));

  it('takes what it lacks from its companions, and says so', async () => {
    const files = await open(file, { companions: [schnell] });
    expect(parsed(files)).toEqual(withProjection);
    expect(await wrongShapes(files)).toEqual([]);
    expect(files.warnings).toEqual([
      'm/flux1-dev.safetensors comes without CLIP text encoder, T5 text encoder and VAE; those of schnell are used.',
    ]);
    expect(files.scheduler).toMatchObject({ shift: 3, use_dynamic_shifting: true });
    expect(files.t5.tokenizer.vocabulary).toEqual({ kind: 'tokenizerJson', json: JSON.parse(TOKENIZER) as unknown });
    expect(files.clip.tokenizer.vocabulary.kind).toBe('vocab');
  });

  it('takes each part from the first that has it', async () => {
    const clipAndVae = folder('parts', { 'clip_l.safetensors': clip.tensors, 'ae.safetensors': vae.tensors });
    const t5File = remote(folder('t5', { 'x.safetensors': t5.tensors }, 'x.safetensors'));
    const files = await open(file, { companions: [clipAndVae, t5File, schnell] });
    expect(parsed(files)).toEqual(expected);
    expect(await wrongShapes(files)).toEqual([]);
    expect(files.warnings).toEqual([
      'm/flux1-dev.safetensors comes without CLIP text encoder and VAE; those of parts are used.',
      'm/flux1-dev.safetensors comes without T5 text encoder; those of t5 are used.',
    ]);
  });

  it('does not look into companions that it does not need', async () => {
    const opened: string[] = [];
    const watched: FileTree = { name: 'other', open: (path) => (opened.push(path), Promise.resolve(undefined)) };
    await open(file, { companions: [schnell, watched] });
    expect(opened).toEqual([]);
  });

  it('says which parts are nowhere, and how to register them', async () => {
    const problem = await problemOf(() => open(file));
    expect(problem).toMatchObject({ code: 'missingModelFile', parameter: 'model' });
    expect(problem.message).toContain('without its CLIP text encoder, T5 text encoder and VAE');
    expect(problem.hint).toContain("companions: ['huggingface:black-forest-labs/FLUX.1-schnell']");
    const t5Missing = folder('parts', { 'clip_l.safetensors': clip.tensors, 'ae.safetensors': vae.tensors });
    const one = await problemOf(() => open(file, { companions: [t5Missing] }));
    expect(one.message).toContain('without its T5 text encoder, and nothing');
  });

  it('says that a tokenizer is nowhere', async () => {
    const rest = Object.fromEntries(Object.entries(MODEL).filter(([path]) => path !== 'tokenizer_2/tokenizer.json'));
    const problem = await problemOf(() => open(file, { companions: [folder('schnell', rest)] }));
    expect(problem).toMatchObject({ code: 'missingModelFile' });
    expect(problem.message).toContain('tokenizer of its T5 text encoder');
    expect(problem.hint).toContain('config/tokenizer_2');
  });

  it('is schnell without a guidance input', async () => {
    const tree = remote(folder('m', { 'f.safetensors': flux1Schnell }, 'f.safetensors'));
    const files = await open(tree, { companions: [schnell] });
    expect(files.scheduler).toMatchObject({ shift: 1, use_dynamic_shifting: false });
    expect(parseFluxTransformerConfig(files.transformer.config).guidanceEmbeds).toBe(false);
  });

  it.each(['', 'model.diffusion_model.'])('opens in diffusers’ names too, prefix "%s"', async (prefix) => {
    const tree = remote(folder('m', { 'f.safetensors': prefixed(prefix, dev.tensors) }, 'f.safetensors'));
    const files = await open(tree, { companions: [schnell] });
    expect(parsed(files)).toEqual(withProjection);
    expect(await wrongShapes(files)).toEqual([]);
  });

  it('is refused where it wants a second picture', async () => {
    const fill = { ...flux1Dev, 'img_in.weight': [3072, 384] };
    const problem = await problemOf(() => open(folder('m', { 'f.safetensors': fill }), { companions: [schnell] }));
    expect(problem).toMatchObject({
      code: 'unsupportedModel',
      message: expect.stringContaining('reads 384') as string,
    });
  });
});

describe('what lies beside', () => {
  const loose: Contents = {
    'flux1-dev.safetensors': flux1Dev,
    'clip_l.safetensors': clip.tensors,
    'a-clip_g.safetensors': clipG.tensors,
    't5xxl_fp16.safetensors': t5.tensors,
    'ae.safetensors': vae.tensors,
    'tokenizer_2/tokenizer.json': TOKENIZER,
  };

  it('is taken by what it is, in a folder of loose files', async () => {
    for (const tree of [folder('m', loose), folder('m', loose, 'flux1-dev.safetensors')]) {
      const files = await open(tree);
      expect(parsed(files)).toEqual(expected);
      expect(await wrongShapes(files)).toEqual([]);
      expect(files.warnings).toBeUndefined();
    }
  });

  it('may be broken or foreign without harm', async () => {
    const junk = { 'a.safetensors': utf8('no header'), 'b.gguf': utf8('GGUF'), 'notes.txt': 'x' };
    expect(parsed(await open(folder('m', { ...loose, ...junk })))).toEqual(expected);
  });

  it('may be a diffusers folder, over a URL too', async () => {
    const tree = remote(folder('m', { ...MODEL, 'flux1-dev.safetensors': flux1Dev }, 'flux1-dev.safetensors'));
    const files = await open(tree);
    expect(parsed(files)).toEqual(withProjection);
    expect(files.warnings).toBeUndefined();
  });

  it('may be configs and tokenizers in config/', async () => {
    const config: unknown = Object.assign({}, t5.config, { relative_attention_max_distance: 64 });
    const tree = folder('m', {
      ...loose,
      'config/model_index.json': '{}',
      'config/text_encoder_2/config.json': JSON.stringify(config),
      'config/tokenizer_2/tokenizer.json': '{"mine": true}',
      'config/scheduler/scheduler_config.json': '{"shift": 5}',
    });
    const files = await open(tree);
    expect(files.scheduler).toEqual({ shift: 5 });
    expect(files.t5.tokenizer.vocabulary).toEqual({ kind: 'tokenizerJson', json: { mine: true } });
  });

  it('is not enough to choose between two models', async () => {
    const problem = await problemOf(() => open(folder('m', { ...loose, 'flux1-schnell.safetensors': flux1Schnell })));
    expect(problem).toMatchObject({ code: 'unsupportedModel' });
    expect(problem.message).toContain('2 of them models');
  });
});

it('opens a file with all parts in it', async () => {
  const all = {
    ...prefixed('model.diffusion_model.', flux1Dev),
    ...prefixed('text_encoders.clip_l.transformer.', clip.tensors),
    ...prefixed('text_encoders.t5xxl.transformer.', t5.tensors),
    ...prefixed('vae.', vae.tensors),
  };
  const tree = folder('m', { 'all.safetensors': all, 'tokenizer_2/tokenizer.json': TOKENIZER });
  const files = await open(tree);
  expect(parsed(files)).toEqual(expected);
  expect(await wrongShapes(files)).toEqual([]);
});

describe('GGUF', () => {
  const allTypes = new Uint8Array(readFileSync(new URL('../../golden/unit/gguf/all-types.gguf', import.meta.url)));

  it('is known by its first bytes, whatever its name', async () => {
    for (const name of ['x.gguf', 'x.safetensors']) {
      const problem = await problemOf(() => open(folder('m', { [name]: allTypes })));
      expect(problem.message, name).toContain('is a file without any weights that are known, not a checkpoint');
    }
  });
});
