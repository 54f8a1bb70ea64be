/**
 * @file ControlNets of FLUX.1 through the engine on the CPU, against diffusers' pipeline at micro size; the forms that files come in, modes of union nets,
 * blocks that take turns, and what is refused. The nets of the goldens at the usual tiny size are run by `npm run goldens` alone.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import { memorySource } from '../../src/assets/byte-source.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import type { WireError } from '../../src/base/errors.js';
import { float16ToFloat32 } from '../../src/base/half.js';
import { decodePng } from '../../src/image/png.js';
import type { Engine } from '../../src/pipeline/engine.js';
import type { WirePicture } from '../../src/pipeline/events.js';
import { readGoldenJson } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { safetensors, type Stored } from '../unit/assets/support.js';
import { compareByStd, outOfTolerance } from './block-sessions.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const UNIT = 'unit/flux-controlnet';
const folder = nodeFolder(GOLDEN);

type Request = Readonly<Record<string, unknown>> & { readonly controlNet?: readonly object[] };

/** Of `case.json`. */
interface Golden extends Readonly<Record<'transformer' | 'vae' | 'union' | 'hint', unknown>> {
  readonly request: Request;
  readonly cases: Readonly<Record<string, Request & { readonly steps: number }>>;
}

type Tensors = Readonly<Record<string, Stored>>;

async function tensorsOf(name: string): Promise<Tensors> {
  const bytes = await folder.read(`${UNIT}/${name}.safetensors`);
  const { tensors } = await openSafetensors(memorySource(name, bytes));
  return Object.fromEntries(
    [...tensors].map(([key, { dtype, shape, start, end }]) => [key, { dtype, shape, bytes: bytes.slice(start, end) }]),
  );
}

/** q, k, v in one matrix, as XLabs' files have them; other layers by these names. */
const XLABS: readonly (readonly [ours: string, theirs: string])[] = [
  ['x_embedder', 'img_in'],
  ['context_embedder', 'txt_in'],
  ['time_text_embed.timestep_embedder.linear_1', 'time_in.in_layer'],
  ['time_text_embed.timestep_embedder.linear_2', 'time_in.out_layer'],
  ['time_text_embed.text_embedder.linear_1', 'vector_in.in_layer'],
  ['time_text_embed.text_embedder.linear_2', 'vector_in.out_layer'],
  ['controlnet_x_embedder', 'pos_embed_input'],
  ['controlnet_blocks.0', 'controlnet_blocks.0'],
  ['input_hint_block.conv_in', 'input_hint_block.0'],
  ...[0, 1, 2, 3, 4, 5].map((i) => [`input_hint_block.blocks.${i}`, `input_hint_block.${2 * i + 2}`] as const),
  ['input_hint_block.conv_out', 'input_hint_block.14'],
  ...(
    [
      ['norm1.linear', 'img_mod.lin'],
      ['norm1_context.linear', 'txt_mod.lin'],
      ['attn.to_out.0', 'img_attn.proj'],
      ['attn.to_add_out', 'txt_attn.proj'],
      ['ff.net.0.proj', 'img_mlp.0'],
      ['ff.net.2', 'img_mlp.2'],
      ['ff_context.net.0.proj', 'txt_mlp.0'],
      ['ff_context.net.2', 'txt_mlp.2'],
    ] as const
  ).map(([ours, theirs]) => [`transformer_blocks.0.${ours}`, `double_blocks.0.${theirs}`] as const),
];
const XLABS_FUSED = [
  ['img_attn', ['to_q', 'to_k', 'to_v'], ['norm_q', 'norm_k']],
  ['txt_attn', ['add_q_proj', 'add_k_proj', 'add_v_proj'], ['norm_added_q', 'norm_added_k']],
] as const;

function asXLabs(tensors: Tensors): Tensors {
  const out: Record<string, Stored> = {};
  const of = (name: string): Stored => {
    const tensor = tensors[name];
    if (tensor === undefined) throw new Error(`no ${name}`);
    return tensor;
  };
  for (const [ours, theirs] of XLABS)
    for (const leaf of ['weight', 'bias']) out[`${theirs}.${leaf}`] = of(`${ours}.${leaf}`);
  for (const [theirs, parts, norms] of XLABS_FUSED) {
    const block = `double_blocks.0.${theirs}`;
    for (const leaf of ['weight', 'bias']) {
      const all = parts.map((part) => of(`transformer_blocks.0.attn.${part}.${leaf}`));
      const [{ dtype, shape } = of('')] = all;
      const bytes = Uint8Array.from(all.flatMap((part) => [...part.bytes]));
      out[`${block}.qkv.${leaf}`] = { dtype, shape: [3 * (shape[0] ?? 0), ...shape.slice(1)], bytes };
    }
    ['query', 'key'].forEach((side, i) => {
      out[`${block}.norm.${side}_norm.scale`] = of(`transformer_blocks.0.attn.${norms[i] ?? ''}.weight`);
    });
  }
  return out;
}

let home: string;
let golden: Golden;
let models: Record<string, string>;
let latents: ReadonlyMap<string, Float32Array>;
let engine: Engine;

async function writeNet(name: string, tensors: Tensors, config?: unknown): Promise<void> {
  const path = join(home, name);
  await mkdir(path);
  const file = config === undefined ? `${name}.safetensors` : 'diffusion_pytorch_model.safetensors';
  await writeFile(join(path, file), safetensors(tensors));
  if (config !== undefined) await writeFile(join(path, 'config.json'), JSON.stringify(config));
  models[name] = path;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'darkroom-flux-control-'));
  golden = (await readGoldenJson(folder, `${UNIT}/case.json`)) as Golden; // our own test data
  const tiny = join(GOLDEN, 'models/flux-dev-tiny');
  models = { base: join(home, 'base'), tiny, sd: join(GOLDEN, 'models/sd15-tiny') };
  models['sd-net'] = join(GOLDEN, 'models/controlnet-sd15-edges');
  await mkdir(models['base'] ?? '', { recursive: true });
  for (const part of ['text_encoder', 'text_encoder_2', 'tokenizer', 'tokenizer_2', 'scheduler'])
    await symlink(join(tiny, part), join(home, 'base', part));
  await cp(join(tiny, 'model_index.json'), join(home, 'base/model_index.json'));
  for (const part of ['transformer', 'vae'] as const) {
    const path = join(home, 'base', part);
    await mkdir(path);
    await writeFile(join(path, 'config.json'), JSON.stringify(golden[part]));
    await writeFile(
      join(path, 'diffusion_pytorch_model.safetensors'),
      await folder.read(`${UNIT}/${part}.safetensors`),
    );
  }
  const union = await tensorsOf('union');
  const hint = { ...union, ...(await tensorsOf('hint')) };
  await writeNet('union', union, golden.union);
  await writeNet('hint', hint, golden.hint);
  await writeNet('union-file', union);
  await writeNet('hint-file', asXLabs(hint));
  const broken = Object.fromEntries(Object.entries(union).filter(([name]) => name !== 'controlnet_blocks.0.weight'));
  await writeNet('broken', broken, golden.union);
  await writeNet('cut', union, { ...Object(golden.union), num_layers: -1 });
  latents = new Map(
    Object.entries(await tensorsOf('tensors')).map(([name, { bytes }]) => {
      const bits = new Uint16Array(bytes.slice().buffer);
      return [name, float16ToFloat32(bits)];
    }),
  );
  engine = createNodeEngine({ models });
});
afterAll(async () => {
  await engine.dispose();
  await rm(home, { recursive: true });
});

interface Made {
  readonly picture: WirePicture | undefined;
  readonly pixels: readonly number[];
  readonly errors: readonly WireError[];
  /** The last of the run, packed. */
  readonly latents: Float32Array | undefined;
}

let guide: string;

async function make(request: Request, on: Engine = engine): Promise<Made> {
  guide ??= (await readFile(join(GOLDEN, UNIT, 'guide.png'))).toString('base64');
  let last: Float32Array | undefined;
  const pictures: WirePicture[] = [];
  const task = {
    taskType: 'imageInference',
    taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    model: 'base',
    outputFormat: 'PNG',
    ...golden.request,
    ...request,
    controlNet: request.controlNet?.map((net) => ({ guideImage: guide, ...net })),
  };
  const { errors } = await on.run([task], {
    onEvent: (event) => void (event.kind === 'picture' && pictures.push(event.picture)),
    trace: () => (name, data) => {
      if (/^step\.\d+\.latents$/.test(name)) last = Float32Array.from(data);
    },
  });
  const [picture] = pictures;
  const pixels = picture === undefined ? [] : [...(await decodePng(picture.bytes)).data];
  return { picture, pixels, errors, latents: last };
}

/** One net, at one step. */
const one = (net: object): Request => ({ steps: 1, controlNet: [net] });

describe('ControlNets of FLUX.1', () => {
  it.each(['union', 'twice', 'hint'])("end where diffusers' pipeline does: %s", async (name) => {
    const made = await make(golden.cases[name] ?? {});
    expect(made.errors).toEqual([]);
    // The golden is in float16; latents of guides are known to three thousandths on the CPU.
    expect(outOfTolerance([compareByStd(name, made.latents, latents.get(name), 4e-3)])).toEqual([]);
  });

  it('may be one file, in diffusers’ layout or XLabs’ own, without a config', async () => {
    for (const [file, net] of [
      ['union-file', 'union'],
      ['hint-file', 'hint'],
    ] as const) {
      const [single, whole] = [
        await make(one({ model: file, unionMode: 1 })),
        await make(one({ model: net, unionMode: 1 })),
      ];
      expect(single.errors).toEqual([]);
      expect(single.pixels).toHaveLength(128 * 128 * 3);
      expect(single.pixels).toEqual(whole.pixels);
    }
  });

  it('make the same picture to the bit where no blocks stay on the device', async () => {
    const tight = createNodeEngine({ models, memoryBudgetBytes: 1e6 });
    const request = golden.cases['twice'] ?? {};
    const streamed = await make(request, tight);
    await tight.dispose();
    expect(streamed.errors).toEqual([]);
    expect(streamed.pixels).toEqual((await make(request)).pixels);
  });

  it('are told the kind of guide: by the request, by what drew it, else they take it for canny and say so', async () => {
    const silent = await make(one({ model: 'union' }));
    expect(silent.picture?.warnings).toEqual([expect.stringMatching(/^controlNet\[0\] does not say.*canny \(0\)/)]);
    const canny = await make(one({ model: 'union', unionMode: 'Canny' }));
    expect(canny.picture?.warnings).toEqual([]);
    expect(canny.pixels).toEqual(silent.pixels);
    expect((await make(one({ model: 'union', unionMode: 1 }))).pixels).not.toEqual(canny.pixels);
    const drawn: string[] = [];
    const { errors } = await engine.run(
      [
        {
          taskType: 'controlNetPreprocess',
          taskUUID: '6ba7b811-9dad-41d1-80b4-00c04fd430c8',
          inputImage: guide,
          preProcessorType: 'tile',
          outputFormat: 'PNG',
        },
      ],
      { onEvent: (event) => void (event.kind === 'guide' && drawn.push(event.guide.guideImageUUID)) },
    );
    expect(errors).toEqual([]);
    const [guideImage] = drawn;
    const known = await make(one({ model: 'union', guideImage }));
    expect(known.picture?.warnings).toEqual([]);
    expect(known.pixels).toEqual((await make(one({ model: 'union', guideImage, unionMode: 'tile' }))).pixels);
    const plain = await make(one({ model: 'hint', unionMode: 2, controlMode: 'prompt' }));
    expect(plain.picture?.warnings).toEqual([
      expect.stringContaining("controlMode 'prompt' has no effect"),
      expect.stringContaining('unionMode has no effect'),
    ]);
  });

  it('are registered with a kind of guide', async () => {
    const details = { union: { overrides: { unionMode: 'tile' } } };
    const own = createNodeEngine({ models, details });
    const { picture, pixels } = await make(one({ model: 'union' }), own);
    await own.dispose();
    expect(picture?.warnings).toEqual([]);
    expect(pixels).toEqual((await make(one({ model: 'union', unionMode: 1 }))).pixels);
  });

  it.each([
    ['one for Stable Diffusion', one({ model: 'sd-net' }), 'incompatibleControlNet'],
    [
      'one for FLUX.1 on Stable Diffusion',
      { model: 'sd', maxSequenceLength: undefined, ...one({ model: 'union' }) },
      'incompatibleControlNet',
    ],
    ['one of another width', { model: 'tiny', ...one({ model: 'union' }) }, 'incompatibleControlNet'],
    [
      'two of different kinds',
      { steps: 1, controlNet: [{ model: 'union' }, { model: 'hint' }] },
      'incompatibleControlNet',
    ],
    ['a mode that there is not', one({ model: 'union', unionMode: 3 }), 'invalidControlNetUnionMode'],
    ['a mode that is none', one({ model: 'union', unionMode: 'scribble' }), 'invalidControlNetUnionMode'],
    ['weights that are missing', one({ model: 'broken', unionMode: 0 }), 'missingWeight'],
    ['a config that lies', one({ model: 'cut' }), 'invalidModelConfig'],
  ] as const)('refuse %s, and the next request works', async (_, request, code) => {
    const { errors, picture } = await make(request);
    expect(picture).toBeUndefined();
    expect(errors).toMatchObject([{ code }]);
    expect((await make({ steps: 1 })).errors).toEqual([]);
  });
});
