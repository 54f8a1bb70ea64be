/** @file Headers made to break the reader: names missing, shapes changed, counts absurd. Every one opens or gets one of the documented errors. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import { openModelFiles } from '../../../src/assets/open-model.js';
import type { FileTree } from '../../../src/assets/source.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { withHeader } from './support.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const CHECKPOINTS = ['sd15', 'sd21', 'sdxl', 'sdxl-refiner'].map((name) => {
  const path = new URL(`../../golden/published/ldm/${name}.json`, import.meta.url);
  return Object.entries((JSON.parse(readFileSync(path, 'utf8')) as { readonly tensors: Shapes }).tensors);
});

/** A tree whose one file claims these tensors; it has as many bytes as they need. */
function claiming(shapes: Shapes): FileTree {
  let at = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const start = at;
    at += shape.reduce((product, size) => product * size, 1);
    return [name, { dtype: 'U8', shape, data_offsets: [start, at] }] as const;
  });
  const head = withHeader(JSON.stringify(Object.fromEntries(entries)));
  const source = { ...memorySource('f', head), size: head.length + at };
  return { name: 'm', file: 'f', open: (path) => Promise.resolve(path === 'f' ? source : undefined) };
}

const merges = memoryTree('clip', { 'merges.txt': new TextEncoder().encode('i n\n') });
const DOCUMENTED = ['unsupportedModel', 'invalidModelFile', 'invalidModelConfig', 'missingModelFile'];

async function outcome(shapes: Shapes): Promise<string> {
  try {
    await openModelFiles(claiming(shapes), { clipTokenizer: merges });
    return 'opened';
  } catch (error) {
    if (error instanceof DarkroomError) return error.code;
    throw error;
  }
}

const shape = fc.array(fc.constantFrom(0, 1, 2, 3, 4, 64, 77, 320, 768), { maxLength: 5 });
const numbers = fc.constantFrom('0', '1', '2', '9', '99', '9999', '00', '-1', '1e3');

describe('hostile headers', () => {
  it('with tensors missing, or of another shape', async () => {
    const which = fc.nat({ max: CHECKPOINTS.length - 1 });
    const changes = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.option(shape)), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(which, changes, async (index, edits) => {
        const entries = new Map(CHECKPOINTS[index]);
        const names = [...entries.keys()];
        for (const [at, to] of edits) {
          const name = names[Math.floor(at * (names.length - 1))] ?? '';
          if (to === null) entries.delete(name);
          else entries.set(name, to);
        }
        expect(DOCUMENTED).toContain(await outcome(Object.fromEntries(entries)));
      }),
      { numRuns: 60 },
    );
  });

  it('with blocks numbered as nobody does', async () => {
    const head = {
      'model.diffusion_model.input_blocks.0.0.weight': [320, 4, 3, 3],
      'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight': [49408, 64],
    };
    const name = fc
      .tuple(
        fc.constantFrom(
          'input_blocks',
          'output_blocks',
          'middle_block',
          'label_emb',
          'out',
          '__proto__',
          'constructor',
        ),
        fc.array(numbers, { maxLength: 3 }),
        fc.constantFrom('op.weight', 'in_layers.2.weight', 'transformer_blocks.0.norm1.weight', 'weight', ''),
      )
      .map(([row, path, leaf]) => `model.diffusion_model.${[row, ...path, leaf].join('.')}`);
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, shape, { maxKeys: 20 }), async (more) => {
        expect(DOCUMENTED).toContain(await outcome({ ...more, ...head }));
      }),
      { numRuns: 300 },
    );
  });

  it('with twenty thousand blocks, in little time', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i) => [`model.diffusion_model.input_blocks.${i}.0.op.weight`, [1]]),
    );
    const begin = performance.now();
    expect(DOCUMENTED).toContain(
      await outcome({ ...many, 'model.diffusion_model.input_blocks.0.0.weight': [320, 4, 3, 3] }),
    );
    expect(performance.now() - begin).toBeLessThan(10_000);
  });
});
