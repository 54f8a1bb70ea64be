/** @file AIRs: every example of the published grammars, the traps of the published regular expression, and round trips of anything. */
import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { airKey, formatAir, parseAir, parseModelReference, type Air } from '../../../src/models/air.js';

function problemOf(action: () => unknown): DarkroomError {
  try {
    action();
  } catch (error) {
    if (error instanceof DarkroomError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Text → the parts that are there; an absent one is absent here too. */
const EXAMPLES: readonly (readonly [text: string, parts: Partial<Air>])[] = [
  // https://github.com/civitai/civitai/wiki/AIR-%E2%80%90-Uniform-Resource-Names-for-AI and its older copy
  ['urn:air:sd1:model:civitai:2421@43533', { ecosystem: 'sd1', type: 'model', source: 'civitai', id: '2421', version: '43533' }],
  ['urn:air:sd2:model:civitai:2421@43533', { ecosystem: 'sd2', type: 'model', source: 'civitai', id: '2421', version: '43533' }],
  ['urn:air:dalle:model:openai:dalle@2', { ecosystem: 'dalle', type: 'model', source: 'openai', id: 'dalle', version: '2' }],
  ['urn:air:gpt:model:openai:gpt@4', { ecosystem: 'gpt', type: 'model', source: 'openai', id: 'gpt', version: '4' }],
  ['urn:air:model:huggingface:stabilityai/sdxl-vae', { type: 'model', source: 'huggingface', id: 'stabilityai/sdxl-vae' }],
  ['urn:air:model:leonardo:345435', { type: 'model', source: 'leonardo', id: '345435' }],
  // https://developer.civitai.com/site/guide/air
  [
    'urn:air:sdxl:checkpoint:civitai:827184@2514310',
    { ecosystem: 'sdxl', type: 'checkpoint', source: 'civitai', id: '827184', version: '2514310' },
  ],
  [
    'air:sdxl:checkpoint:civitai:827184@2514310',
    { ecosystem: 'sdxl', type: 'checkpoint', source: 'civitai', id: '827184', version: '2514310' },
  ],
  [
    'sdxl:checkpoint:civitai:827184@2514310',
    { ecosystem: 'sdxl', type: 'checkpoint', source: 'civitai', id: '827184', version: '2514310' },
  ],
  [
    'urn:air:sdxl:checkpoint:civitai:827184@2514310+2402203',
    { ecosystem: 'sdxl', type: 'checkpoint', source: 'civitai', id: '827184', version: '2514310', fileId: '2402203' },
  ],
  [
    'urn:air:other:upscaler:civitai:147759@164821',
    { ecosystem: 'other', type: 'upscaler', source: 'civitai', id: '147759', version: '164821' },
  ],
  [
    'urn:air:other:other:civitai-r2:civitai-worker-assets@sam_vit_b_01ec64.pth',
    {
      ecosystem: 'other',
      type: 'other',
      source: 'civitai-r2',
      id: 'civitai-worker-assets',
      version: 'sam_vit_b_01ec64',
      format: 'pth',
    },
  ],
  // https://runware.ai/docs/en/image-inference/models and later identifiers of that cloud
  ['civitai:4384@128713', { source: 'civitai', id: '4384', version: '128713' }],
  ['runware:101@1', { source: 'runware', id: '101', version: '1' }],
  ['bfl:2@2', { source: 'bfl', id: '2', version: '2' }],
  ['google:gemma@4-31b', { source: 'google', id: 'gemma', version: '4-31b' }],
  ['tencent:hunyuan-3d@3.1-pro', { source: 'tencent', id: 'hunyuan-3d', version: '3.1-pro' }],
  ['runware:flux-1-dev', { source: 'runware', id: 'flux-1-dev' }],
  // dots, formats, layers, revisions
  [
    'huggingface:stabilityai/stable-diffusion-xl-base-1.0',
    { source: 'huggingface', id: 'stabilityai/stable-diffusion-xl-base-1.0' },
  ],
  [
    'huggingface:stabilityai/stable-diffusion-xl-base-1.0@refs/pr/95',
    { source: 'huggingface', id: 'stabilityai/stable-diffusion-xl-base-1.0', version: 'refs/pr/95' },
  ],
  ['civitai:1@2.0.safetensors', { source: 'civitai', id: '1', version: '2.0', format: 'safetensors' }],
  ['civitai:1@2.0.ckpts', { source: 'civitai', id: '1', version: '2.0.ckpts' }],
  ['openai:gpt-4.5', { source: 'openai', id: 'gpt-4.5' }],
  ['leonardo:345435.diffuser', { source: 'leonardo', id: '345435', format: 'diffuser' }],
  ['civitai:1+9.ckpt', { source: 'civitai', id: '1', fileId: '9', format: 'ckpt' }],
  [
    'urn:air:sd1:lora:civitai:1@2:unet.down-1+3.Safetensors',
    {
      ecosystem: 'sd1',
      type: 'lora',
      source: 'civitai',
      id: '1',
      version: '2',
      layer: 'unet.down-1',
      fileId: '3',
      format: 'safetensors',
    },
  ],
  ['sd1:civitai:1@2', { ecosystem: 'sd1', source: 'civitai', id: '1', version: '2' }],
  ['URN:AIR:SD1:Model:CivitAI:1@2', { ecosystem: 'sd1', type: 'model', source: 'civitai', id: '1', version: '2' }],
  ['  urn:civitai:1@2 ', { source: 'civitai', id: '1', version: '2' }],
];

describe('parseAir', () => {
  it.each(EXAMPLES)('%s', (text, parts) => {
    const air = parseAir(text);
    expect(air).toEqual(parts);
    expect(parseAir(formatAir(air))).toEqual(parts);
  });

  it.each([
    ['128713', 'no source'],
    ['civitai', 'no source'],
    ['urn:air:4384@1', 'no source'],
    [':4384@1', 'no source'],
    ['urn:urn:1@1', '"urn" is not a source'],
    ['civitai:', 'its id is ""'],
    ['civitai:@1', 'its id is ""'],
    ['civitai:4384@', 'its version is ""'],
    ['civitai:4384@.ckpt', 'its version is ""'],
    ['civitai:4384@1@2', 'its version is "1@2"'],
    ['civitai:4384@1:', 'its layer is ""'],
    ['civitai:4384@1:a:b', 'more than one layer'],
    ['civitai:4384@1+', 'its file id is ""'],
    ['civitai:4384@1+2+3', 'its version is "1+2"'],
    ['civitai:4384@1+2:a', 'its file id is "2:a"'],
    ['a:b:c:civitai:4384@1', '3 words before its source'],
    ['a::civitai:4384@1', 'its type "" is not a word'],
    ['civ itai:4384@1', 'its source "civ itai" is not a word'],
    ['civitai:43 84@1', 'its id is "43 84"'],
    ['huggingface:../../etc@main', 'its id is "../../etc"'],
    ['huggingface:owner/..@main', 'its id is "owner/.."'],
    ['huggingface:owner//repo', 'its id is "owner//repo"'],
    ['huggingface:owner/repo/', 'its id is "owner/repo/"'],
    ['huggingface:owner/repo@../x', 'its version is "../x"'],
    ['huggingface:owner/repo?x=1', 'its id is "owner/repo?x=1"'],
    ['C:\\models\\a', 'its id is'],
  ])('refuses %j', (text, why) => {
    const { error } = problemOf(() => parseAir(text, 'refiner.model'));
    expect(error).toMatchObject({ code: 'invalidModel', parameter: 'refiner.model', type: 'string' });
    expect(error.message).toContain(why);
    expect(error.hint).toContain('civitai:4384@128713');
  });

  it('stays quick and quotable for long texts', () => {
    const text = `a:${'b/'.repeat(50_000)}`;
    const start = performance.now();
    expect(problemOf(() => parseAir(text)).message.length).toBeLessThan(300);
    expect(performance.now() - start).toBeLessThan(500);
  });
});

const letters = 'abcdefghijklmnopqrstuvwxyz0123456789';
const word = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,8}$/).filter((text) => text !== 'urn' && text !== 'air');
const path = fc
  .array(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/), { minLength: 1, maxLength: 3 })
  .map((pieces) => pieces.join('/'))
  .filter((text) => !/\.(safetensors?|ckpt|pth?|bin|diffusers?|onnx|gguf|tensorrt)$/i.test(text));
const absent = fc.constant(undefined);
const airs: fc.Arbitrary<Air> = fc
  .record({
    ecosystem: fc.oneof(absent, word),
    type: fc.oneof(absent, fc.constantFrom('checkpoint', 'model', 'lora', 'vae', 'controlnet')),
    source: word,
    id: path,
    version: fc.oneof(absent, path),
    layer: fc.oneof(absent, path),
    fileId: fc.oneof(absent, fc.stringMatching(/^[0-9]{1,9}$/)),
    format: fc.oneof(absent, fc.constantFrom('safetensors', 'ckpt', 'diffusers', 'onnx')),
  })
  .map((air) => (air.version === undefined ? { ...air, layer: undefined } : air))
  // without a type, a word that is one would be read as one
  .filter(({ ecosystem, type }) => ecosystem === undefined || type !== undefined || !['other', 'dora'].includes(ecosystem));

describe('formatAir', () => {
  it('is the inverse of parseAir', () => {
    fc.assert(
      fc.property(airs, (air) => {
        expect(parseAir(formatAir(air))).toEqual(air);
      }),
    );
  });

  it('is a normal form: what is read from any text formats to the same text again', () => {
    const texts = fc.stringMatching(/^[a-z:@+./ -]{1,24}$/).map((text) => `${letters[text.length]}:${text}`);
    fc.assert(
      fc.property(texts, (text) => {
        let normal: string;
        try {
          normal = formatAir(parseAir(text));
        } catch (error) {
          expect(error).toBeInstanceOf(DarkroomError);
          return;
        }
        expect(formatAir(parseAir(normal))).toBe(normal);
      }),
      { numRuns: 500 },
    );
  });

  it('is short where ecosystem and type are not known', () => {
    expect(formatAir(parseAir('urn:air:civitai:4384@128713'))).toBe('civitai:4384@128713');
    expect(formatAir(parseAir('air:SDXL:Checkpoint:civitai:1@2.SafeTensors'))).toBe(
      'urn:air:sdxl:checkpoint:civitai:1@2.safetensors',
    );
  });
});

describe('airKey', () => {
  it.each([
    ['civitai:4384@128713', 'urn:air:sd1:model:civitai:4384@128713'],
    ['civitai:4384@128713', 'AIR:SD1:Checkpoint:CIVITAI:4384@128713.safetensors'],
    ['huggingface:owner/repo', 'huggingface:owner/repo@main'],
    ['urn:air:model:huggingface:owner/repo', 'Huggingface:owner/repo'],
  ])('%s = %s', (one, other) => expect(airKey(parseAir(one))).toBe(airKey(parseAir(other))));

  it.each([
    ['civitai:4384@128713', 'civitai:4384@128714'],
    ['civitai:4384@128713', 'civitai:4384'],
    ['civitai:4384@128713', 'civitai:4384@128713+1'],
    ['civitai:4384@128713', 'civitai:4384@128713:vae'],
    ['civitai:4384@128713', 'runware:4384@128713'],
    ['huggingface:owner/repo', 'huggingface:Owner/repo'],
    ['huggingface:owner/repo', 'huggingface:owner/repo@fp16'],
  ])('%s ≠ %s', (one, other) => expect(airKey(parseAir(one))).not.toBe(airKey(parseAir(other))));
});

describe('parseModelReference', () => {
  it.each([
    ['civitai:4384@128713', 'air'],
    ['my:model@1', 'air'],
    ['tiny', 'name'],
    ['My model 1.5 (best)', 'name'],
    ['models/sd15', 'name'],
    ['model@1', 'name'],
    ['https://example.org/models/a/', 'url'],
    ['HTTPS://example.org/a.safetensors?token=1', 'url'],
    ['blob:https://example.org/0b9d', 'url'],
    ['file:///models/a', 'url'],
  ])('%s is a(n) %s', (text, kind) => expect(parseModelReference(text).kind).toBe(kind));

  it.each(['', '  ', 'ftp://example.org/a', 'https://', 'javascript://x', 'a b:c d'])('refuses %j', (text) => {
    expect(problemOf(() => parseModelReference(text, 'vae')).error).toMatchObject({ code: 'invalidModel', parameter: 'vae' });
  });

  it('keeps tokens of a refused URL to itself', () => {
    expect(problemOf(() => parseModelReference('ftp://user:secret@example.org/?token=secret')).message).not.toContain('secret');
  });

  it('gives one kind at a time', () => {
    const parsed = parseModelReference('a:1@1');
    if (parsed.kind === 'air') expectTypeOf(parsed.air).toEqualTypeOf<Air>();
    if (parsed.kind === 'url') expectTypeOf(parsed.url).toBeString();
    if (parsed.kind === 'name') expectTypeOf(parsed).toEqualTypeOf<{ readonly kind: 'name'; readonly name: string }>();
    expect(parsed).toMatchObject({ kind: 'air', air: { source: 'a', id: '1', version: '1' } });
  });
});
