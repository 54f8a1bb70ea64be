/** @file CLIP's published vocabulary, made from its merges: its size, known ids, and lists that are not it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readClipTokenizer } from '../../../src/assets/clip-tokenizer-files.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import { CLIP_TOKENIZER_FILES } from '../../../src/models/clip-tokenizer.js';
import { createClipTokenizer, type ClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { problemOf, utf8 } from './support.js';

const merges = new Uint8Array(readFileSync(fileURLToPath(CLIP_TOKENIZER_FILES['merges.txt'] ?? '')));
const make = async (bytes: Uint8Array = merges, pad = '<|endoftext|>'): Promise<ClipTokenizer> =>
  createClipTokenizer(await readClipTokenizer(memoryTree('clip', { 'merges.txt': bytes }), pad));

describe('readClipTokenizer', () => {
  it('has 49,408 tokens; begin and end are the last', async () => {
    const { size, bos, eos, pad, length } = await make();
    expect({ size, bos, eos, pad, length }).toEqual({ size: 49408, bos: 49406, eos: 49407, pad: 49407, length: 77 });
    expect((await make(merges, '!')).pad).toBe(0);
  });

  /** SimpleTokenizer(bpe_path).encode(text) of github.com/openai/CLIP. */
  it.each([
    ['a photo of a cat', [320, 1125, 539, 320, 2368]],
    ['an astronaut riding a horse on mars, 4k!', [550, 18376, 6765, 320, 4558, 525, 7496, 267, 275, 330, 256]],
    [
      'Zażółć gęślą jaźń',
      [3710, 129, 120, 8891, 40419, 31719, 70, 128, 247, 129, 249, 75, 128, 483, 1586, 129, 118, 129, 482],
    ],
    ['crème brûlée — 東京 🚀', [1075, 12138, 614, 711, 127, 119, 75, 13489, 2005, 48338, 21078, 361, 13542]],
    ["it's the dogs' 2nd day", [585, 568, 518, 3255, 262, 273, 1764, 575]],
  ])('%s', async (text, ids) => expect((await make()).encode(text)).toEqual(ids));

  it('refuses another list, and says where one is missing', async () => {
    const other = await problemOf(() => make(utf8('#version: 0.2\ni n\n')));
    expect(other).toMatchObject({ code: 'invalidModelConfig' });
    expect(other.message).toContain('515 tokens');
    const none = await problemOf(() => readClipTokenizer(memoryTree('clip', {}), '!'));
    expect(none.code).toBe('missingModelFile');
  });
});
