/** @file FLUX.1's and T5's names in single files: every row of every tensor belongs to one weight; configs read off the shapes. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseFluxTransformerConfig } from '../../../src/models/configs/flux-transformer.js';
import { parseT5Config } from '../../../src/models/configs/t5.js';
import { fluxTransformerConfig, t5Config } from '../../../src/models/flux-configs-from-shapes.js';
import { FLUX_LAYOUT } from '../../../src/models/layouts/flux.js';
import { T5_LAYOUT } from '../../../src/models/layouts/t5.js';
import { refusal } from '../text/support.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const readJson = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../golden/${path}`, import.meta.url), 'utf8'));
const published = (name: string): { readonly tensors: Shapes; readonly config: Readonly<Record<string, unknown>> } =>
  readJson(`published/${name}.json`) as { tensors: Shapes; config: Record<string, unknown> };

interface Rows {
  readonly first: number;
  readonly end: number;
  readonly of: number;
  readonly height: number;
}

/** For each tensor of the file, the parts of its rows that weights are. */
function parts(shapes: Iterable<readonly [string, readonly number[]]>): ReadonlyMap<string, readonly Rows[]> {
  const found = new Map<string, Rows[]>();
  for (const [internal, [height = 0]] of shapes) {
    const [place, ...more] = FLUX_LAYOUT.places(internal);
    expect([place?.name, more], internal).toEqual([expect.any(String), []]);
    const { index = 0, of = 1, count = 1 } = place?.part ?? {};
    const list = found.get(place?.name ?? '') ?? [];
    list.push({ first: index, end: index + count, of, height: height / count });
    found.set(place?.name ?? '', list);
  }
  return found;
}

/** Whether they follow each other without hole, and are of equal height. */
function isWhole(rows: readonly Rows[]): boolean {
  const sorted = rows.toSorted((a, b) => a.first - b.first);
  const [first] = sorted;
  return (
    first?.first === 0 &&
    sorted.at(-1)?.end === first.of &&
    sorted.every((row, i) => row.first === (sorted[i - 1]?.end ?? 0) && row.of === first.of && row.height === first.height)
  );
}

describe('FLUX.1', () => {
  const dev = published('flux-dev');
  const shapeOf = (name: string): readonly number[] | undefined => dev.tensors[name];

  it('every weight of the published model has one place, and their places fill tensors', () => {
    const found = parts(Object.entries(dev.tensors));
    expect([...found].filter(([, rows]) => !isWhole(rows))).toEqual([]);
    // 780 tensors: what the published flux1-dev.safetensors has
    expect(found.size).toBe(780);
  });

  it('the tensors of a file with published names are all read, and fit', () => {
    const { files } = readJson('models/flux-dev-tiny-files/files.json') as {
      readonly files: Readonly<
        Record<string, { readonly tensors: Shapes; readonly components: { readonly transformer: Readonly<Record<string, string>> } }>
      >;
    };
    const { tensors, components } = files['flux1-bf16.safetensors'] ?? { tensors: {}, components: { transformer: {} } };
    const internals = Object.keys(components.transformer);
    expect(internals).toHaveLength(126);
    const read = new Map<string, number>();
    for (const internal of internals) {
      const [place] = FLUX_LAYOUT.places(internal);
      const height = tensors[place?.name ?? '']?.[0] ?? NaN;
      const { of = 1, count = 1 } = place?.part ?? {};
      read.set(place?.name ?? '', (read.get(place?.name ?? '') ?? 0) + (height * count) / of);
    }
    expect(read).toEqual(new Map(Object.entries(tensors).map(([name, [height]]) => [name, height])));
  });

  it('the last modulation has its halves in the other order', () => {
    expect(FLUX_LAYOUT.places('norm_out.linear.weight')).toEqual([
      { name: 'final_layer.adaLN_modulation.1.weight', swapped: true },
    ]);
  });

  it.each(['transformer_blocks.0.attn.to_q', 'transformer_blocks.0.norm2.weight', 'down_blocks.0.weight', ''])(
    'has no place for "%s"',
    (name) => {
      expect(FLUX_LAYOUT.places(name)).toEqual([]);
    },
  );

  it.each(['flux-dev', 'flux-schnell'])('config of %s', (name) => {
    const known = { ...dev.config, guidance_embeds: name === 'flux-dev' };
    const without = (internal: string): readonly number[] | undefined =>
      name === 'flux-schnell' && internal.includes('guidance_embedder') ? undefined : shapeOf(internal);
    expect(parseFluxTransformerConfig(fluxTransformerConfig(without, 'file'))).toEqual(parseFluxTransformerConfig(known));
  });

  it('refuses heads of another width, and files with holes', () => {
    const narrow = (name: string): readonly number[] | undefined => (name.endsWith('norm_q.weight') ? [64] : shapeOf(name));
    expect(refusal(() => fluxTransformerConfig(narrow, 'file')).code).toBe('unsupportedModel');
    const holed = (name: string): readonly number[] | undefined => (name === 'proj_out.weight' ? undefined : shapeOf(name));
    expect(refusal(() => fluxTransformerConfig(holed, 'file')).code).toBe('invalidModelFile');
    expect(refusal(() => fluxTransformerConfig(() => [], 'file')).code).toBe('invalidModelFile');
  });
});

describe('T5', () => {
  const { tensors, config } = published('t5-xxl-encoder');

  it('has a name of its own in GGUF files for every weight', () => {
    const places = Object.keys(tensors).map((name) => T5_LAYOUT.places(name).map((place) => place.name));
    const names = places.map((all) => all.at(-1));
    expect(names).toEqual(names.filter((name) => /^(token_embd|enc\.(output_norm|blk\.\d+\.(attn|ffn)_\w+))\.weight$/.test(name ?? '')));
    expect(new Set(names).size).toBe(219);
    expect(places.map(([first]) => first)).toEqual(Object.keys(tensors));
  });

  it('config', () => {
    const read = t5Config((name) => tensors[name], 'file');
    expect(parseT5Config(read)).toEqual(parseT5Config(config));
    const odd = (name: string): readonly number[] | undefined => (name.endsWith('.q.weight') ? [65, 4096] : tensors[name]);
    expect(refusal(() => t5Config(odd, 'file')).code).toBe('invalidModelFile');
  });
});
