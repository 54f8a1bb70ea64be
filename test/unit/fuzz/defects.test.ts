/** @file What the fuzzer found, once and for all. */
import { describe, expect, it } from 'vitest';
import { parseInfotext } from '../../../src/image/infotext.js';
import { restoreRequest } from '../../../src/image/parameters.js';
import { parseAutoencoderTinyConfig } from '../../../src/models/configs/autoencoder-tiny.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
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
