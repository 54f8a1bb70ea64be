/** @file What the fuzzer found, once and for all. */
import { describe, expect, it } from 'vitest';
import { parseJson } from '../../../src/assets/json.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { parseInfotext } from '../../../src/image/infotext.js';
import { restoreRequest } from '../../../src/image/parameters.js';
import { parseAutoencoderTinyConfig } from '../../../src/models/configs/autoencoder-tiny.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
import { closeMatches } from '../../../src/models/close-matches.js';
import { parseT5Config } from '../../../src/models/configs/t5.js';
import { createSampler } from '../../../src/sampling/index.js';
import { createT5Tokenizer } from '../../../src/text/t5-tokenizer.js';

describe('configs of a few bytes that ask for millions of layers', () => {
  it.each<readonly [string, () => unknown]>([
    ['layers of a UNet', () => parseUNetConfig({ layers_per_block: 2 ** 24 })],
    ['transformer layers of one level', () => parseUNetConfig({ transformer_layers_per_block: [1, 65, 1, 1] })],
    ['transformer layers of a ControlNet', () => parseControlNetConfig({ transformer_layers_per_block: 2 ** 20 })],
    ['blocks of TAESD', () => parseAutoencoderTinyConfig({ num_decoder_blocks: [3, 3, 3, 70_000] })],
    ['levels of a VAE', () => parseAutoencoderKLConfig({ block_out_channels: Array(40).fill(64) })],
    ['no level at all', () => parseUNetConfig({ block_out_channels: [], down_block_types: [], up_block_types: [] })],
  ])('are refused: %s', (_, parse) => {
    expect(parse).toThrow(expect.objectContaining({ code: 'invalidModelConfig' }) as Error);
  });

  it('and those of published models are not', () => {
    expect(parseUNetConfig({ transformer_layers_per_block: [1, 2, 10, 10] }).transformerLayersPerBlock).toContain(10);
  });
});

describe('numbers without end in the text of a picture', () => {
  it('are left out: JSON reads 1e999 as Infinity', () => {
    const darkroom =
      '{"positivePrompt":"a","width":1e999,"steps":4,"lora":[{"model":"m","weight":-1e999}],"refiner":{"model":"r","startStep":1e999}}';
    expect(restoreRequest({ darkroom })?.request).toEqual({ positivePrompt: 'a', steps: 4, refiner: { model: 'r' } });
  });

  it('are left out: so are 400 digits', () => {
    const text = `a fox\nSteps: ${'9'.repeat(400)}, Sampler: Euler, CFG scale: 7`;
    expect(parseInfotext(text)?.request).toEqual({ positivePrompt: 'a fox', CFGScale: 7, scheduler: 'Euler' });
  });
});

describe('added tokens of a T5 tokenizer', () => {
  it('may have any character in them: a pattern of them is made', () => {
    const odd = '<-a.b*/[x]^$(c){2}|\\d+?>';
    const json = {
      model: { type: 'Unigram', unk_id: 0, vocab: [['<unk>', 0], ['</s>', 0], ['<pad>', 0], ['a', -1]] },
      added_tokens: [{ content: odd, id: 3 }],
      pre_tokenizer: { type: 'WhitespaceSplit' },
    }; // prettier-ignore
    const vocabulary = { kind: 'tokenizerJson', json } as const;
    const tokenizer = createT5Tokenizer({ name: 't', vocabulary, config: undefined, specialTokens: undefined });
    expect(tokenizer.encode(`a ${odd} dd`)).toEqual([3, 3, 0]);
    expect(tokenizer.encode('<-axb')).not.toContain(4);
  });
});

describe('JSON of a safetensors header', () => {
  const read = (text: string) =>
    parseJson(text, 'h', { dialect: 'strict', code: 'invalidModelFile', plainIntegers: true });

  it.each(['[1.0]', '[1e2]', '[10E-1]', '[0.0]', '[1e400, 2e0]'])('sizes are written as whole numbers: %s', (text) => {
    expect(() => read(text)).toThrow(/a whole number with a point or an exponent/);
  });

  it('numbers that are not whole stay what they are, for whoever refuses them', () => {
    expect(read('[1.5, -0.5, 1e-3, -0, 7]')).toEqual([1.5, -0.5, 0.001, -0, 7]);
  });

  it('a key of a megabyte that comes twice makes a short message', () => {
    const key = JSON.stringify('k'.repeat(1 << 20));
    const error = ((): unknown => {
      try {
        return read(`{${key}:1,${key}:2}`);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(DarkroomError);
    expect(error instanceof DarkroomError ? error.message.length : 0).toBeLessThan(300);
  });
});

it("ids of a text encoder's own tokens are ids of its vocabulary", () => {
  const config = { feed_forward_proj: 'gated-gelu', vocab_size: 512 };
  expect(parseT5Config({ ...config, eos_token_id: 511 }).eosTokenId).toBe(511);
  for (const key of ['pad_token_id', 'eos_token_id'])
    expect(() => parseT5Config({ ...config, [key]: 512 })).toThrow(/a whole number from 0 to 511, got 512/);
});

describe('parts of models that do not belong together', () => {
  it.each([
    ['pictures with opacity', () => parseAutoencoderKLConfig({ out_channels: 4 })],
    ['gray pictures', () => parseAutoencoderKLConfig({ in_channels: 1 })],
    ['gray pictures of TAESD', () => parseAutoencoderTinyConfig({ out_channels: 1 })],
  ])('autoencoders of %s are refused', (_, parse) => {
    expect(parse).toThrow(expect.objectContaining({ code: 'unsupportedModel' }) as Error);
  });

  it("FLUX.1's schedule is refused by a model that counts no image tokens", () => {
    const config = { _class_name: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: true };
    const make = (more: object) => () => createSampler({ name: 'Default', config, steps: 2, ...more });
    expect(make({})).toThrow(expect.objectContaining({ code: 'invalidModelConfig' }) as Error);
    expect(make({ imageSeqLen: 64 })().steps).toBe(2);
  });
});

it('a model of 4096 letters is told from a thousand others in no time', () => {
  const candidates = Array.from({ length: 1000 }, (_, i) => ({ reference: `model-${i}`, name: `A model, ${i}` }));
  const used = process.cpuUsage();
  expect(closeMatches('модель x'.repeat(512), candidates)).toEqual([]);
  expect(process.cpuUsage(used).user / 1000).toBeLessThan(1000); // 1e8 steps otherwise
  expect(closeMatches('modl-7', candidates)).toContain('model-7');
});
