/** @file What transformers.test.ts runs inside Chromium: graphs of transformers on a WebGPU runtime that refuses to fall back to the CPU. */
import { urlTree } from '../../src/assets/url-tree.js';
import { openWeights, type WeightFile } from '../../src/assets/weights.js';
import { FLUX_IO, FLUX_SINUSOID, fluxGraph } from '../../src/graphs/flux.js';
import { fluxPositions } from '../../src/graphs/flux-tokens.js';
import { rotaryAngles } from '../../src/graphs/rope.js';
import { sinusoid } from '../../src/graphs/sinusoid.js';
import { T5_BIAS_TABLE, T5_IO, t5EncoderGraph, t5PositionBias, T5_TOKEN_TABLE } from '../../src/graphs/t5.js';
import { parseFluxTransformerConfig } from '../../src/models/configs/flux-transformer.js';
import { parseT5Config } from '../../src/models/configs/t5.js';
import { webgpuDialect } from '../../src/onnx/dialects/webgpu.js';
import { encodeModel } from '../../src/onnx/encode.js';
import { dispatchCount } from '../../src/onnx/liveness.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { Graph, PackedFormat } from '../../src/onnx/types.js';
import { toFloat32 } from '../../src/runtime/device-array.js';
import { loadOrtInBrowser, webgpuBuild } from '../../src/runtime/ort.js';
import { createRuntime } from '../../src/runtime/runtime.js';
import type { Inputs } from '../../src/runtime/session.js';
import { readGoldenJson, readTensors, type GoldenFolder } from '../golden-runner/files.js';
import { floats, PLAIN_LAYOUT } from '../graph/block-sessions.js';

/** An output, and dispatches of one run: counted, and as our arithmetic says. */
export interface PageResult {
  readonly values: readonly number[];
  readonly counted: number;
  readonly expected: number;
}

/** A product with a matrix of few bits, float32. */
export interface PackedRun {
  readonly x: readonly number[];
  readonly rows: number;
  readonly shape: readonly [number, number];
  readonly format: PackedFormat;
  readonly codes: readonly number[];
  readonly scales: readonly number[];
  readonly zeros?: readonly number[];
  readonly bias?: readonly number[];
}

const urlOf = (path: string): string => new URL(`/folder/goldens/${path}`, location.href).href;
const folder: GoldenFolder = {
  read: async (path) => new Uint8Array(await (await fetch(urlOf(path))).arrayBuffer()),
  tree: (path) => urlTree(`${urlOf(path)}/`, { fetch: (input, init) => fetch(input, init) }),
};

let device: GPUDevice | undefined;
const opening = createRuntime({
  backend: 'webgpu',
  strictGpu: true,
  loadOrt: loadOrtInBrowser,
  gpu: navigator.gpu,
  observeDevice: (made) => (device = made),
});
const options = { dialect: webgpuDialect, dtype: 'float32' } as const;

const counter = { dispatches: 0 };
const prototype = GPUComputePassEncoder.prototype;
const dispatch = Reflect.get(prototype, 'dispatchWorkgroups');
prototype.dispatchWorkgroups = function (...sizes) {
  counter.dispatches++;
  dispatch.apply(this, sizes);
};

async function run(weights: WeightFile, graph: Graph, inputs: Inputs, output: string): Promise<PageResult> {
  const bank = (await opening).openBank(weights);
  const model = await bank.load(graph);
  try {
    const before = counter.dispatches;
    const { [output]: values = floats([]) } = await model.run(inputs);
    const expected = graph.nodes.reduce((sum, node) => sum + dispatchCount(node), 0);
    return { values: [...values], counted: counter.dispatches - before, expected };
  } finally {
    await model.dispose();
    bank.dispose();
  }
}

/** The velocity of step 0. */
async function flux(): Promise<PageResult> {
  const model = 'models/flux-dev-tiny';
  const weights = await openWeights(folder.tree(model), 'transformer', ['diffusion_pytorch_model'], {
    layout: PLAIN_LAYOUT,
  });
  const config = parseFluxTransformerConfig(await readGoldenJson(folder, `${model}/transformer/config.json`));
  const golden = await readTensors(folder, 'cases/flux-dev-default/tensors.safetensors');
  const grid = { rows: 8, columns: 8 };
  const { cos, sin } = rotaryAngles(fluxPositions(512, grid), config.ropeAxes);
  const waves = (name: string): Float32Array => sinusoid(1000 * (golden.get(name)?.[0] ?? NaN), FLUX_SINUSOID);
  const inputs = {
    [FLUX_IO.latents]: floats(golden.get('step.0.input')),
    [FLUX_IO.textStates]: floats(golden.get('t5.hidden')),
    [FLUX_IO.pooled]: floats(golden.get('clip.pooled')),
    [FLUX_IO.time]: waves('step.0.timestep'),
    [FLUX_IO.guidance]: waves('step.0.guidance'),
    [FLUX_IO.cos]: cos,
    [FLUX_IO.sin]: sin,
  };
  const graph = fluxGraph(config, { textTokens: 512, imageTokens: 64 }, options);
  return run(weights, graph, inputs, FLUX_IO.velocity);
}

/** The last states of the first sequence, with tokens hidden. */
async function t5(): Promise<PageResult> {
  const unit = 'unit/t5-encoder-large-activations';
  const weights = await openWeights(folder.tree(unit), '', ['model'], { layout: PLAIN_LAYOUT });
  const config = parseT5Config(await readGoldenJson(folder, `${unit}/config.json`));
  const golden = await readTensors(folder, `${unit}/tensors.safetensors`);
  const [ids, mask] = ['input_ids', 'attention_mask'].map((name) => [...(golden.get(name) ?? [])].slice(0, 32));
  const table = await weights.read(T5_TOKEN_TABLE, 'float32');
  const rows = (ids ?? []).flatMap((id) => [...table.subarray(id * config.width, (id + 1) * config.width)]);
  const bias = t5PositionBias(config, await weights.read(T5_BIAS_TABLE, 'float32'), 32, mask ?? []);
  const inputs = { [T5_IO.hidden]: floats(rows), [T5_IO.bias]: bias };
  return run(weights, t5EncoderGraph(config, 32, options), inputs, T5_IO.last);
}

async function packed(given: PackedRun): Promise<readonly number[]> {
  await opening;
  const { rows: s, shape, format, bias } = given;
  const [channels, c] = shape;
  const graph = writeGraph('packed', { ...options, packing: () => format }, (net) => {
    const x = net.tokens('x', { n: 1, s, c });
    net.output('y', net.linear('layer', x, { channels, bias: bias !== undefined }));
  });
  const ort = await loadOrtInBrowser(webgpuBuild());
  // The native provider reads `device`, which the typed options do not have.
  const provider = { name: 'webgpu', device };
  const session = await ort.InferenceSession.create(encodeModel(graph, () => 'input').bytes, {
    executionProviders: [provider],
    graphOptimizationLevel: 'disabled',
    extra: { session: { disable_cpu_ep_fallback: '1' } },
  });
  const feeds = Object.fromEntries(
    graph.weights.map(({ name, packed: part, value }) => {
      const values = part === undefined ? bias : given[part.part];
      const data = value.dtype === 'uint8' ? Uint8Array.from(values ?? []) : Float32Array.from(values ?? []);
      return [name, new ort.Tensor(data, value.shape)];
    }),
  );
  const { y } = await session.run({ ...feeds, x: new ort.Tensor(Float32Array.from(given.x), [s, c]) });
  await session.release();
  return [...toFloat32(y?.data, 'y')];
}

const transformersPage = { flux, t5, packed };
export type TransformersPage = typeof transformersPage;
Reflect.set(globalThis, 'transformersPage', transformersPage);
