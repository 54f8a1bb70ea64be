/** @file LoRA files that are broken, absurd or for another model: each gets the documented error that names the tensor, and nothing else. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryTree } from '../../../src/assets/file-tree.js';
import { openLora } from '../../../src/assets/lora-file.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { changedBy, loraOf, networksOf, openTinyModel, tensor, type Shapes } from './lora-support.js';
import { float32Bytes, problemOf, safetensors, withHeader, type Stored } from './support.js';

const TO_Q = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q';
const KEY = `lora_unet_${TO_Q.replaceAll('.', '_')}`;
const CONV = 'down_blocks.0.resnets.0.conv1';
const CONV_KEY = `lora_unet_${CONV.replaceAll('.', '_')}`;
const networks = networksOf({
  unet: { [`${TO_Q}.weight`]: [8, 6], [`${CONV}.weight`]: [8, 4, 3, 3], [`${CONV}.bias`]: [8] },
  encoder1: { 'text_model.encoder.layers.0.mlp.fc1.weight': [12, 6] },
});

type File = Readonly<Record<string, Stored | readonly number[]>>;

const problem = (file: File, metadata?: Readonly<Record<string, string>>): ReturnType<typeof problemOf> =>
  problemOf(async () => (await loraOf(file, metadata)).changesFor(networks));

const scalar = (value: number): Stored => ({ dtype: 'F32', shape: [], bytes: float32Bytes([value]) });
const good: File = { [`${KEY}.lora_down.weight`]: [2, 6], [`${KEY}.lora_up.weight`]: [8, 2] };

describe('parts that do not fit together', () => {
  it.each<readonly [string, File, string]>([
    ['up and down of other ranks', { [`${KEY}.lora_down.weight`]: [3, 6], [`${KEY}.lora_up.weight`]: [8, 2] }, 'ranks'],
    ['up without down', { [`${KEY}.lora_up.weight`]: [8, 2] }, 'lacks the part "down"'],
    ['down without up', { [`${KEY}.lora_down.weight`]: [2, 6], [`${KEY}.alpha`]: scalar(1) }, 'lack the part "up"'],
    ['rank 0', { [`${KEY}.lora_down.weight`]: [0, 6], [`${KEY}.lora_up.weight`]: [8, 0] }, 'at least 1'],
    [
      'three dimensions',
      { [`${KEY}.lora_down.weight`]: [2, 6, 1], [`${KEY}.lora_up.weight`]: [8, 2] },
      'a matrix or a kernel',
    ],
    ['one dimension', { [`${KEY}.lora_down.weight`]: [2, 6], [`${KEY}.lora_up.weight`]: [16] }, '1×1 kernel'],
    [
      'an up of 3×3',
      { [`${CONV_KEY}.lora_down.weight`]: [2, 4, 3, 3], [`${CONV_KEY}.lora_up.weight`]: [8, 2, 3, 3] },
      '1×1 kernel',
    ],
    [
      'a core of another rank',
      {
        [`${CONV_KEY}.lora_down.weight`]: [2, 4, 1, 1],
        [`${CONV_KEY}.lora_up.weight`]: [8, 2, 1, 1],
        [`${CONV_KEY}.lora_mid.weight`]: [3, 2, 3, 3],
      },
      'ranks',
    ],
    [
      'a flat core',
      {
        [`${CONV_KEY}.lora_down.weight`]: [2, 4],
        [`${CONV_KEY}.lora_up.weight`]: [8, 2],
        [`${CONV_KEY}.lora_mid.weight`]: [2, 2],
      },
      'four dimensions',
    ],
    [
      'LoHa without a factor',
      { [`${KEY}.hada_w1_a`]: [8, 2], [`${KEY}.hada_w1_b`]: [2, 6], [`${KEY}.hada_w2_a`]: [8, 2] },
      '"hada_w2_b"',
    ],
    [
      'LoHa of unequal sizes',
      {
        [`${KEY}.hada_w1_a`]: [8, 2],
        [`${KEY}.hada_w1_b`]: [2, 6],
        [`${KEY}.hada_w2_a`]: [6, 2],
        [`${KEY}.hada_w2_b`]: [2, 8],
      },
      'elementwise',
    ],
    [
      'LoHa with one core',
      {
        [`${CONV_KEY}.hada_w1_a`]: [2, 8],
        [`${CONV_KEY}.hada_w1_b`]: [2, 4],
        [`${CONV_KEY}.hada_t1`]: [2, 2, 3, 3],
        [`${CONV_KEY}.hada_w2_a`]: [8, 2],
        [`${CONV_KEY}.hada_w2_b`]: [2, 36],
      },
      'hada_t1 and hada_t2',
    ],
    [
      'LoKr with a factor twice',
      { [`${KEY}.lokr_w1`]: [2, 2], [`${KEY}.lokr_w2`]: [4, 3], [`${KEY}.lokr_w2_a`]: [4, 1] },
      'beside',
    ],
    ['LoKr with half a factor', { [`${KEY}.lokr_w1`]: [2, 2], [`${KEY}.lokr_w2_a`]: [4, 1] }, '"lokr_w2_b"'],
    ['two kinds', { ...good, [`${KEY}.diff`]: [8, 6] }, '2 ways'],
    [
      'two adapters',
      { [`unet.${TO_Q}.lora_A.a.weight`]: [2, 6], [`unet.${TO_Q}.lora_A.b.weight`]: [2, 6] },
      'the same part',
    ],
    [
      'two layers for one weight',
      { ...good, [`unet.${TO_Q}.lora_A.weight`]: [2, 6], [`unet.${TO_Q}.lora_B.weight`]: [8, 2] },
      'both change',
    ],
    ['too few magnitudes', { ...good, [`${KEY}.dora_scale`]: [4, 1] }, '8 magnitudes'],
  ])('%s', async (_, file, message) => {
    const found = await problem(file);
    expect(found.code).toBe('invalidModelFile');
    expect(found.message).toContain(message);
    expect(found.message).toContain('style.safetensors');
  });
});

describe('alpha', () => {
  it.each<readonly [string, Stored, string]>([
    ['NaN', scalar(NaN), 'NaN'],
    ['infinite', scalar(Infinity), 'Infinity'],
    ['huge', scalar(1e30), 'at most 10000'],
    ['of two numbers', { dtype: 'F32', shape: [2], bytes: float32Bytes([1, 2]) }, 'one number'],
    ['a boolean', { dtype: 'BOOL', shape: [], bytes: new Uint8Array(1) }, 'dtype BOOL'],
  ])('%s is refused', async (_, alpha, message) => {
    const found = await problem({ ...good, [`${KEY}.alpha`]: alpha });
    expect(found.code).toBe('invalidModelFile');
    expect(found.message).toContain(message);
    expect(found.message).toContain(`"${KEY}.alpha"`);
  });

  const int = (bytes: number[]): Stored => ({
    dtype: bytes.length === 8 ? 'I64' : 'I32',
    shape: [],
    bytes: Uint8Array.from(bytes),
  });
  it.each<readonly [string, Stored | undefined, number]>([
    ['absent: the rank', undefined, 1],
    ['0: no effect', scalar(0), 0],
    ['negative', scalar(-1), -0.5],
    ['in a list', { ...scalar(3), shape: [1] }, 1.5],
    ['a long integer', int([5, 0, 0, 0, 0, 0, 0, 0]), 2.5],
    ['an integer', int([254, 255, 255, 255]), -1],
  ])('%s', async (_, alpha, scale) => {
    const file = alpha === undefined ? good : { ...good, [`${KEY}.alpha`]: alpha };
    const { changes } = await (await loraOf(file)).changesFor(networks);
    expect(changes.get('unet')?.map((change) => change.scale)).toEqual([scale]);
  });

  it("of peft is the header's, unless a tensor says otherwise", async () => {
    const metadata = { lora_adapter_metadata: '{"unet.lora_alpha": 6, "unet.r": 2}' };
    const scaleOf = async (file: File): Promise<unknown> =>
      (await (await loraOf(file, metadata)).changesFor(networks)).changes.get('unet')?.map((change) => change.scale);
    expect(await scaleOf(good)).toEqual([3]);
    expect(await scaleOf({ ...good, [`${KEY}.alpha`]: scalar(1) })).toEqual([0.5]);
  });

  it.each([
    ['not JSON', '{', 'invalidModelFile'],
    ['no object', '[]', 'invalidModelFile'],
    ['no number', '{"unet.lora_alpha": "6"}', 'invalidModelFile'],
    ['NaN', '{"unet.lora_alpha": NaN}', 'invalidModelFile'],
    ['another method', '{"unet.lora_alpha": 6, "unet.peft_type": "VERA"}', 'unsupportedModel'],
    ['a regular expression', '{"unet.lora_alpha": 6, "unet.alpha_pattern": {"(a+)+$": 1}}', 'unsupportedModel'],
    ['a pattern without number', '{"unet.lora_alpha": 6, "unet.alpha_pattern": {"to_q": null}}', 'invalidModelFile'],
  ])("peft's configuration: %s", async (_, json, code) => {
    expect(await problem(good, { lora_adapter_metadata: json })).toMatchObject({ code });
  });
});

describe('values that are no numbers', () => {
  it.each([NaN, Infinity, -Infinity])('%s: found when the factors are read', async (value) => {
    const name = `${KEY}.lora_up.weight`;
    const { changes } = await (await loraOf({ ...good, [name]: tensor([8, 2], value) })).changesFor(networks);
    const found = await problemOf(() => changes.get('unet')?.[0]?.read());
    expect(found.code).toBe('invalidModelFile');
    expect(found.message).toContain(String(value));
  });

  it('integers are no weights', async () => {
    const bytes = new Uint8Array(64);
    const { changes } = await (
      await loraOf({ ...good, [`${KEY}.lora_up.weight`]: { dtype: 'I32', shape: [8, 2], bytes } })
    ).changesFor(networks);
    expect(await problemOf(() => changes.get('unet')?.[0]?.read())).toMatchObject({ code: 'invalidModelFile' });
  });

  it('factors whose product is too large for float32', async () => {
    const [a, b] = [tensor([4, 1], 1e30), tensor([1, 3], 1e30)];
    const file = { [`${KEY}.lokr_w1`]: [2, 2], [`${KEY}.lokr_w2_a`]: a, [`${KEY}.lokr_w2_b`]: b };
    const { changes } = await (await loraOf(file)).changesFor(networks);
    expect((await problemOf(() => changes.get('unet')?.[0]?.read())).message).toContain('Infinity');
  });
});

describe('files for another model', () => {
  const sdxl = {
    [`${KEY.replace('attn1_to_q', 'attn2_to_k')}.lora_down.weight`]: [2, 2048],
    [`${KEY.replace('attn1_to_q', 'attn2_to_k')}.lora_up.weight`]: [8, 2],
  };

  it('says what the file is for, the first tensor that does not fit, and both sizes', async () => {
    const sd = networksOf({ unet: { [`${TO_Q.replace('attn1.to_q', 'attn2.to_k')}.weight`]: [8, 768] } });
    const found = await problemOf(async () => (await loraOf(sdxl)).changesFor(sd));
    expect(found).toMatchObject({ code: 'incompatibleLora', parameter: 'lora' });
    expect(found.message).toContain('is a LoRA for Stable Diffusion XL; it does not fit this model');
    expect(found.message).toContain(
      '"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"',
    );
    expect(found.message).toMatch(/\[8, 2048\].*attn2\.to_k\.weight.*\[8, 768\]/);
  });

  it.each<readonly [string, File]>([
    [
      'nothing fits',
      { 'lora_unet_no_such_layer.lora_down.weight': [2, 6], 'lora_unet_no_such_layer.lora_up.weight': [8, 2] },
    ],
    [
      'most does not fit',
      { ...good, ...Object.fromEntries([0, 1, 2].map((i) => [`lora_unet_other_${i}.lora_down.weight`, [2, 6]])) },
    ],
    ['FLUX', { 'transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight': [2, 6] }],
    ['a method that is not known', { [`${KEY}.oft_blocks`]: [2, 4, 4] }],
  ])('%s', async (_, file) => {
    const found = await problem(file);
    expect(found.code).toBe('incompatibleLora');
    expect(found.message).toContain('belong to no weight of this model');
  });

  it('a few tensors that belong nowhere are told of', async () => {
    const extra = { 'lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha': scalar(1), 'bundle_emb.x': [2, 6] };
    const { warning, unmatched, changes } = await (
      await loraOf({ ...good, [`${KEY}.alpha`]: scalar(1), ...extra })
    ).changesFor(networks);
    expect(changes.get('unet')).toHaveLength(1);
    expect(unmatched).toEqual(Object.keys(extra));
    expect(warning).toMatch(
      /^2 of 5 keys of style\/style\.safetensors do not belong to this model: "lora_te2_.*", "bundle_emb\.x"$/,
    );
  });

  it('a bias that the model does not have, and an alpha of nothing, are told of', async () => {
    const extra = { [`${KEY}.diff_b`]: [8], [`${CONV_KEY}.alpha`]: scalar(1) };
    const { unmatched } = await (await loraOf({ ...good, ...extra })).changesFor(networks);
    expect(unmatched).toEqual(Object.keys(extra));
  });

  it('other kinds of files are refused when they are opened', async () => {
    const found = await problemOf(() => loraOf({ emb_params: [2, 768] }));
    expect(found).toMatchObject({ code: 'unsupportedModel', parameter: 'lora' });
    expect(found.message).toContain('is a textual inversion embedding for Stable Diffusion 1, not a LoRA');
  });
});

describe('which file of a folder', () => {
  const file = safetensors({ [`${KEY}.lora_down.weight`]: tensor([2, 6]), [`${KEY}.lora_up.weight`]: tensor([8, 2]) });
  const page = new TextEncoder().encode('<!doctype html><html>');
  it.each<readonly [string, Readonly<Record<string, Uint8Array>>, string]>([
    ['named like the folder', { 'style.safetensors': file, 'other.safetensors': page }, 'style.safetensors'],
    [
      'as diffusers names it',
      { 'pytorch_lora_weights.safetensors': file, 'other.safetensors': page },
      'pytorch_lora_weights.safetensors',
    ],
    [
      'the only one',
      { 'README.md': page, 'any-name.safetensors': file, 'sub/x.safetensors': page },
      'any-name.safetensors',
    ],
  ])('%s', async (_, files, name) => {
    expect((await openLora(memoryTree('folder/style', files))).name).toContain(name);
  });
  it.each<readonly [string, Readonly<Record<string, Uint8Array>>, string]>([
    ['several', { 'a.safetensors': file, 'b.safetensors': file }, 'unsupportedModel'],
    ['none', { 'README.md': page }, 'missingModelFile'],
    ['a web page', { 'style.safetensors': page }, 'missingModelFile'],
    ['a pickle', { 'pytorch_lora_weights.bin': Uint8Array.from([0x80, 2, 0x7d, 0x71]) }, 'pickleRefused'],
    ['cut short', { 'style.safetensors': file.slice(0, -3) }, 'invalidModelFile'],
    [
      'a header that claims too much',
      { 'style.safetensors': Uint8Array.from([255, 255, 255, 255, 0, 0, 0, 0, 0x7b]) },
      'invalidModelFile',
    ],
  ])('%s is refused', async (_, files, code) => {
    expect(await problemOf(() => openLora(memoryTree('style', files)))).toMatchObject({ code });
  });
});

it('reads the header and the alphas, and factors only when asked', async () => {
  const bytes = safetensors({
    [`${KEY}.alpha`]: scalar(1),
    [`${KEY}.lora_down.weight`]: tensor([2, 6]),
    [`${KEY}.lora_up.weight`]: tensor([8, 2]),
  });
  const data = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const reads: string[] = [];
  const read = (start: number, end: number): Promise<Uint8Array> => {
    if (end > data) reads.push(`${start - data}-${end - data}`);
    return Promise.resolve(bytes.subarray(start, end));
  };
  const source = { name: 'f', size: bytes.length, read };
  // what a file is shows in its first bytes, which may reach into so small a file's tensors
  const lora = await openLora({ name: 'm', file: 'f', open: () => Promise.resolve(source) });
  reads.length = 0;
  const { changes } = await lora.changesFor(networks);
  expect(reads).toEqual(['0-4']);
  await changes.get('unet')?.[0]?.read();
  expect(reads.slice(1).sort()).toEqual(['4-52', '52-116']);
});

it(
  "ten thousand layers, of which half are not the model's, take no longer than a pass",
  { timeout: 30_000 },
  async () => {
    const many = (prefix: string): Shapes =>
      Object.fromEntries(
        Array.from({ length: 5000 }, (_, i) => `${prefix}${i}`).flatMap((name): [string, readonly number[]][] => [
          [`${name}.lora_A.weight`, [1, 1]],
          [`${name}.lora_B.weight`, [1, 1]],
        ]),
      );
    const lora = await loraOf({ ...many('unet.layer.'), ...many('unet.other.') });
    const model = networksOf({
      unet: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`layer.${i}.weight`, [1, 1]])),
    });
    const start = performance.now();
    const found = await lora.changesFor(model);
    expect(changedBy(found)).toHaveLength(5000);
    expect(found.unmatched).toHaveLength(10_000);
    expect(performance.now() - start).toBeLessThan(10_000); // far less than a second; quadratic, it would be minutes
  },
);

it('golden files with their headers changed open, or get a documented error', { timeout: 30_000 }, async () => {
  const { networks: tiny } = await openTinyModel('sd15-tiny');
  const names = ['lora-sd15-kohya', 'locon-sd15-mid', 'loha-sd15-tucker', 'lokr-sd15-both', 'dora-sd15'];
  const headers = names.map((name) => {
    const bytes = readFileSync(new URL(`../../golden/models/${name}/${name}.safetensors`, import.meta.url));
    const length = Number(bytes.readBigUInt64LE(0));
    return Object.entries(
      JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, { shape: readonly number[] }>,
    )
      .filter(([name]) => name !== '__metadata__')
      .map(([name, { shape }]) => [name, shape] as const);
  });
  const edit = fc.record({
    at: fc.nat(),
    shape: fc.option(fc.array(fc.constantFrom(0, 1, 2, 3, 4, 16, 32), { maxLength: 5 })),
    name: fc.option(
      fc.constantFrom('.alpha', '.lora_mid.weight', '.hada_t1', '.lokr_t2', '.lokr_w1', '.dora_scale', '.diff', '.x'),
    ),
  });
  const allowed = ['opened', 'invalidModelFile', 'incompatibleLora', 'unsupportedModel'];
  const outcomes = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: names.length - 1 }),
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      async (which, edits) => {
        const entries = new Map(headers[which]);
        for (const { at, shape, name } of edits) {
          const key = [...entries.keys()][at % entries.size] ?? '';
          if (name !== null) entries.set(key.replace(/\.[^.]+(\.weight)?$/, name), shape ?? []);
          else if (shape === null) entries.delete(key);
          else entries.set(key, shape);
        }
        const outcome = await outcomeOf(Object.fromEntries(entries), tiny);
        outcomes.add(outcome);
        expect(allowed).toContain(outcome);
      },
    ),
    { numRuns: 100, seed: 7 },
  );
  expect([...outcomes].sort()).toEqual(expect.arrayContaining(['incompatibleLora', 'invalidModelFile', 'opened']));
});

/** Opens a file of these tensors, which hold zeros, and reads everything that it changes. */
async function outcomeOf(shapes: Shapes, model: ReturnType<typeof networksOf>): Promise<string> {
  let at = 0;
  const header = Object.entries(shapes).map(([name, shape]) => {
    const start = at;
    at += 2 * shape.reduce((product, size) => product * size, 1);
    return [name, { dtype: 'F16', shape, data_offsets: [start, at] }] as const;
  });
  try {
    const bytes = withHeader(JSON.stringify(Object.fromEntries(header)), new Uint8Array(at));
    const { changes } = await (await openLora(memoryTree('style', { 'style.safetensors': bytes }))).changesFor(model);
    for (const change of [...changes.values()].flat()) await change.read();
    return 'opened';
  } catch (error) {
    if (error instanceof DarkroomError) return error.code;
    throw error;
  }
}
