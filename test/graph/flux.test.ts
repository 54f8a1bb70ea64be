/** @file FLUX.1's transformer on the CPU against diffusers: every intermediate of a step by block sessions, and the same in one graph. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWeights, type WeightFile } from '../../src/assets/weights.js';
import { CLIP_IO, clipTextGraph, TOKEN_TABLE } from '../../src/graphs/clip-text.js';
import {
  FLUX_IO,
  FLUX_SINUSOID,
  fluxBlockPrefix,
  fluxDoubleBlockGraph,
  fluxEmbedderGraph,
  fluxGraph,
  fluxJoinGraph,
  fluxModulationGraph,
  fluxOutputGraph,
  fluxSingleBlockGraph,
  type FluxBlockOptions,
} from '../../src/graphs/flux.js';
import { fluxPositions } from '../../src/graphs/flux-tokens.js';
import { rotaryAngles } from '../../src/graphs/rope.js';
import { sinusoid } from '../../src/graphs/sinusoid.js';
import { parseClipTextConfig } from '../../src/models/configs/clip-text.js';
import {
  fluxWidth,
  parseFluxTransformerConfig,
  type FluxTransformerConfig,
} from '../../src/models/configs/flux-transformer.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import type { Arrays, Inputs } from '../../src/runtime/session.js';
import { readGoldenJson, readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, type Comparison } from '../golden-runner/report.js';
import { compareByStd, floats, outOfTolerance, PLAIN_LAYOUT, runGraph, weightsUnder } from './block-sessions.js';

const MODEL = 'models/flux-dev-tiny';
const CASE = 'cases/flux-dev-default';
const TEXT = 512;
const GRID = { rows: 8, columns: 8 };
const shape = { textTokens: TEXT, imageTokens: GRID.rows * GRID.columns };
const exact = { dialect: wasmDialect, dtype: 'float32' } as const;
/** Of a golden's standard deviation: float32 rounding through the whole network. */
const SHARE = 1e-4;

const folder = nodeFolder(join(import.meta.dirname, '../golden'));
let runtime: Runtime;
let weights: WeightFile;
let config: FluxTransformerConfig;
let golden: ReadonlyMap<string, Float64Array>;

beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  weights = await openWeights(folder.tree(MODEL), 'transformer', ['diffusion_pytorch_model'], { layout: PLAIN_LAYOUT });
  config = parseFluxTransformerConfig(await readGoldenJson(folder, `${MODEL}/transformer/config.json`));
  golden = await readTensors(folder, `${CASE}/tensors.safetensors`);
});
afterAll(() => runtime.dispose());

const run = (prefix: string, graph: Parameters<typeof runGraph>[2], inputs: Inputs): Promise<Arrays> =>
  runGraph(runtime, weightsUnder(prefix, weights), graph, inputs);

function rope(): Inputs {
  const { cos, sin } = rotaryAngles(fluxPositions(TEXT, GRID), config.ropeAxes);
  return { [FLUX_IO.cos]: cos, [FLUX_IO.sin]: sin };
}

/** What the network gets at step `i`, as the golden has it. */
function stepInputs(i: number): Inputs {
  const value = (name: string): number => golden.get(`step.${i}.${name}`)?.[0] ?? NaN;
  return {
    [FLUX_IO.latents]: floats(golden.get(`step.${i}.input`)),
    [FLUX_IO.textStates]: floats(golden.get('t5.hidden')),
    [FLUX_IO.pooled]: floats(golden.get('clip.pooled')),
    [FLUX_IO.time]: sinusoid(1000 * value('timestep'), FLUX_SINUSOID),
    [FLUX_IO.guidance]: sinusoid(1000 * value('guidance'), FLUX_SINUSOID),
  };
}

/** Everything that block sessions give for step 0, by the name that the golden has for it. */
async function runBlocks(options: FluxBlockOptions): Promise<Arrays> {
  const out: Record<string, Float32Array> = {};
  const c = fluxWidth(config);
  const first64 = (x: Float32Array): Float32Array => x.slice(0, 64 * c);
  const embedded = await run('', fluxEmbedderGraph(config, shape, options), stepInputs(0));
  let { [FLUX_IO.text]: text = new Float32Array(), [FLUX_IO.image]: image = new Float32Array() } = embedded;
  const { [FLUX_IO.condition]: condition = new Float32Array() } = embedded;
  Object.assign(out, { 'block.x_embedder': image, 'block.context_embedder64': first64(text), condition });
  const given = options.modulation === 'given';
  const steering = async (kind: 'double' | 'single', i: number): Promise<Inputs> => {
    const by = { [FLUX_IO.condition]: condition };
    return given ? run(fluxBlockPrefix(kind, i), fluxModulationGraph(config, kind, 1, options), by) : by;
  };
  const double = fluxDoubleBlockGraph(config, shape, options);
  for (let i = 0; i < config.doubleBlocks; i++) {
    const by = await steering('double', i);
    const inputs = { [FLUX_IO.text]: text, [FLUX_IO.image]: image, ...by, ...rope() };
    const made = await run(fluxBlockPrefix('double', i), double, inputs);
    text = made[FLUX_IO.next('text')] ?? text;
    image = made[FLUX_IO.next('image')] ?? image;
    Object.assign(out, { [`block.double.${i}.image`]: image, [`block.double.${i}.text64`]: first64(text) });
  }
  const joined = await run('', fluxJoinGraph(config, shape, options), { [FLUX_IO.text]: text, [FLUX_IO.image]: image });
  let { [FLUX_IO.sequence]: sequence = new Float32Array() } = joined;
  const single = fluxSingleBlockGraph(config, shape, options);
  for (let i = 0; i < config.singleBlocks; i++) {
    const by = await steering('single', i);
    const made = await run(fluxBlockPrefix('single', i), single, { [FLUX_IO.sequence]: sequence, ...by, ...rope() });
    sequence = made[FLUX_IO.next('sequence')] ?? sequence;
    out[`block.single.${i}.text64`] = first64(sequence);
    out[`block.single.${i}.image`] = sequence.slice(TEXT * c);
  }
  const ends = { [FLUX_IO.sequence]: sequence, [FLUX_IO.condition]: condition };
  const { [FLUX_IO.velocity]: velocity } = await run('', fluxOutputGraph(config, shape, options), ends);
  return { ...out, 'step.0.velocity': velocity ?? new Float32Array() };
}

const silu = (x: number): number => x / (1 + Math.exp(-x));

function compareBlocks(made: Arrays, share: number): readonly Comparison[] {
  const { condition = new Float32Array(), ...rest } = made;
  const expected = floats(golden.get('block.temb')).map(silu);
  return [
    compareByStd('SiLU of block.temb', condition, expected, share),
    ...Object.entries(rest).map(([name, got]) => compareByStd(name, got, golden.get(name), share)),
  ];
}

describe('FLUX.1 transformer', () => {
  it('gives every intermediate of step 0, block by block', async () => {
    const results = compareBlocks(await runBlocks(exact), SHARE);
    expect(results).toHaveLength(14);
    expect(outOfTolerance(results)).toEqual([]);
  });

  it('gives the same where modulations are made ahead', async () => {
    expect(outOfTolerance(compareBlocks(await runBlocks({ ...exact, modulation: 'given' }), SHARE))).toEqual([]);
  });

  it('gives the velocities of steps 0, 2 and 3 in one graph, and of step 0 those of its blocks', async () => {
    const graph = fluxGraph(config, shape, exact);
    const results: Comparison[] = [];
    for (const i of [0, 2, 3]) {
      const { [FLUX_IO.velocity]: got } = await run('', graph, { ...stepInputs(i), ...rope() });
      results.push(compareByStd(`step.${i}.velocity`, got, golden.get(`step.${i}.velocity`), SHARE));
      if (i > 0) continue;
      const { 'step.0.velocity': ofBlocks } = await runBlocks(exact);
      results.push(compareByStd('blocks', got, ofBlocks, 1e-5));
    }
    expect(outOfTolerance(results)).toEqual([]);
  });

  it('stays within 1 % in float16', async () => {
    const { [FLUX_IO.velocity]: got } = await run('', fluxGraph(config, shape, { ...exact, dtype: 'float16' }), {
      ...stepInputs(0),
      ...rope(),
    });
    const result = compareByStd('velocity', got, golden.get('step.0.velocity'), 1e-2);
    expect(outOfTolerance([result])).toEqual([]);
    expect(result.worst).toBeGreaterThan(0);
  });

  it("adds a ControlNet's residuals to the image tokens alone", async () => {
    const c = fluxWidth(config);
    const wave = (count: number, phase: number): Float32Array =>
      Float32Array.from({ length: count }, (_, i) => Math.sin(0.7 * i + phase));
    const control = { [FLUX_IO.control]: wave(shape.imageTokens * c, 1) };
    const common = { ...rope(), [FLUX_IO.condition]: wave(c, 2) };
    const streams = { [FLUX_IO.text]: wave(TEXT * c, 3), [FLUX_IO.image]: wave(shape.imageTokens * c, 4) };
    const sequence = { [FLUX_IO.sequence]: wave((TEXT + shape.imageTokens) * c, 5) };
    const results: Comparison[] = [];
    for (const [kind, write, inputs, stream, before] of [
      ['double', fluxDoubleBlockGraph, streams, 'image', 0],
      ['single', fluxSingleBlockGraph, sequence, 'sequence', TEXT],
    ] as const) {
      const all = { ...common, ...inputs };
      const plain = await run(fluxBlockPrefix(kind, 0), write(config, shape, exact), all);
      const steered = await run(fluxBlockPrefix(kind, 0), write(config, shape, { ...exact, control: true }), {
        ...all,
        ...control,
      });
      const expected = floats(plain[FLUX_IO.next(stream)]).map(
        (x, i) => x + (control[FLUX_IO.control]?.[i - before * c] ?? 0),
      );
      results.push(compare(kind, steered[FLUX_IO.next(stream)] ?? [], expected, { absolute: 1e-5, relative: 0 }));
    }
    expect(outOfTolerance(results)).toEqual([]);
  });
});

describe('CLIP for FLUX.1', () => {
  it('gives the pooled text: the normed row of the end token, without a projection', async () => {
    const clip = parseClipTextConfig(await readGoldenJson(folder, `${MODEL}/text_encoder/config.json`));
    const file = await openWeights(folder.tree(MODEL), 'text_encoder', ['model'], { layout: PLAIN_LAYOUT });
    const ids = [...(golden.get('clip.input_ids') ?? [])];
    const table = await file.read(TOKEN_TABLE, 'float32');
    const width = clip.hiddenSize;
    const embeddings = floats(ids.flatMap((id) => [...table.subarray(id * width, (id + 1) * width)]));
    const state = { skip: 0, norm: true };
    const graph = clipTextGraph(clip, { tokens: ids.length, hidden: [state], projected: false, masked: false }, exact);
    const { [CLIP_IO.hidden(state)]: hidden = new Float32Array() } = await runGraph(runtime, file, graph, {
      [CLIP_IO.embeddings]: embeddings,
    });
    const end = ids.indexOf(Math.max(...ids)); // what an eos_token_id of 2 means
    expect(clip.eosTokenId).toBe(2);
    const pooled = hidden.subarray(end * width, (end + 1) * width);
    expect(outOfTolerance([compareByStd('pooled', pooled, golden.get('clip.pooled'), SHARE)])).toEqual([]);
  });
});
