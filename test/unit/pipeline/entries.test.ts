/** @file Which entries of a request's lists act, and errors that say which one they are about. */
import { describe, expect, it } from 'vitest';
import { DarkroomError, fail } from '../../../src/base/errors.js';
import { actingEntries, entriesOf, ofEntry, ofParameter } from '../../../src/pipeline/entries.js';

describe('actingEntries', () => {
  it('leaves out weight 0 and keeps the places of the others', () => {
    const list = [
      { model: 'a', weight: 0 },
      { model: 'b', weight: -1 },
    ];
    expect(actingEntries('lora', list)).toEqual([{ place: 'lora[1]', value: list[1] }]);
  });
});

describe('ofEntry', () => {
  const [, second = { place: '', value: 0 }] = entriesOf('lora', [1, 2]);
  const thrown = async (error: unknown): Promise<unknown> =>
    ofEntry(second, () => Promise.reject(error as Error)).catch((e: unknown) => e);

  it('gives what the work gives', async () => {
    expect(await ofEntry(second, () => 7)).toBe(7);
  });

  it('says the entry once, and keeps everything else of the error', async () => {
    const cause = new Error('why');
    const error = fail('incompatibleLora', 'x.safetensors does not fit.', {
      parameter: 'lora',
      hint: 'Another.',
      cause,
    });
    const once = await thrown(error);
    expect(once).toBeInstanceOf(DarkroomError);
    expect(once).toMatchObject({
      errors: [
        {
          code: 'incompatibleLora',
          message: 'lora[1]: x.safetensors does not fit.',
          parameter: 'lora',
          hint: 'Another.',
        },
      ],
      cause,
    });
    expect(await thrown(once)).toBe(once);
  });

  it('leaves alone what no entry is to blame for', async () => {
    for (const error of [fail('aborted', 'Stopped.'), fail('outOfMemory', 'Full.'), new Error('another')])
      expect(await thrown(error)).toBe(error);
  });

  it('catches what is thrown at once', async () => {
    const now = ofEntry(second, () => {
      throw fail('modelNotFound', 'No x.');
    });
    await expect(now).rejects.toMatchObject({ code: 'modelNotFound', message: 'lora[1]: No x.' });
  });
});

it('ofParameter says which model it is, whatever the files were opened as', async () => {
  const wrong = fail('unsupportedModel', 'x.safetensors is a LoRA, not a checkpoint.', { parameter: 'model' });
  const said = await ofParameter('refiner.model', () => Promise.reject(wrong)).catch((e: unknown) => e);
  expect(said).toMatchObject({
    errors: [{ parameter: 'refiner.model', message: 'refiner.model: x.safetensors is a LoRA, not a checkpoint.' }],
  });
});
