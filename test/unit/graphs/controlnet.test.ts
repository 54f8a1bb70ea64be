/** @file ControlNet graphs at real size: residuals that fit the UNet, what they cost in dispatches, rows, and what is refused. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  controlNetGraph,
  controlNetHintGraph,
  residualIO,
  type ControlNetShape,
} from '../../../src/graphs/controlnet.js';
import { residualShapes, unetGraph } from '../../../src/graphs/unet.js';
import { parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
import { wasmDialect } from '../../../src/onnx/dialects/wasm.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { dispatchCount } from '../../../src/onnx/liveness.js';
import type { Graph } from '../../../src/onnx/types.js';

const configOf = (name: string): unknown =>
  (
    JSON.parse(readFileSync(new URL(`../../golden/published/${name}.json`, import.meta.url), 'utf8')) as {
      config: unknown;
    }
  ).config;

const FAMILIES = [
  ['sd15', { batch: 2, height: 64, width: 64, textTokens: 77 }, 13],
  ['sdxl', { batch: 2, height: 128, width: 96, textTokens: 154 }, 10],
] as const;

const gpu = { dialect: webgpuDialect, dtype: 'float16' } as const;
const dispatches = ({ nodes }: Graph): number => nodes.reduce((sum, node) => sum + dispatchCount(node), 0);
const sizes = (values: Graph['outputs']): unknown => values.map(({ name, value }) => [name, value.shape.join('x')]);

describe.each(FAMILIES)('%s', (family, shape, count) => {
  const control = parseControlNetConfig(configOf(`${family}-controlnet`));
  const unet = parseUNetConfig(configOf(`${family}-unet`));

  it.each([webgpuDialect, wasmDialect])('what it gives is what the UNet takes ($name)', (dialect) => {
    const options = { dialect, dtype: 'float32' } as const;
    const given = controlNetGraph(control, shape, options).outputs;
    const taken = unetGraph(unet, shape, { ...options, residuals: true }).inputs.filter(({ name }) =>
      name.startsWith('residual.'),
    );
    expect(given).toHaveLength(count);
    expect(sizes(given)).toEqual(sizes(taken));
    expect(residualShapes(unet, shape)).toEqual(residualShapes(control, shape));
  });

  it('adds to a UNet one dispatch for each residual', () => {
    const plain = dispatches(unetGraph(unet, shape, gpu));
    expect(dispatches(unetGraph(unet, shape, { ...gpu, residuals: true })) - plain).toBe(count);
  });

  it('adds to the half it copies a convolution and a factor for each residual, and the guide for nothing', () => {
    const graph = controlNetGraph(control, shape, gpu);
    const own = graph.nodes.filter(({ scope }) => scope.startsWith('controlnet_'));
    expect(own.filter(({ opType }) => opType !== 'Reshape').map(({ opType }) => opType)).toEqual(
      Array.from({ length: count }, () => ['Gemm', 'Mul']).flat(),
    );
    const rest = dispatches({ ...graph, nodes: graph.nodes.filter((node) => !own.includes(node)) });
    const whole = unetGraph(unet, shape, gpu);
    const isHalf = (scope: string): boolean =>
      /^(conv_in|time_embedding|add_embedding|silu|down_blocks|mid_block)/.test(scope);
    const half = dispatches({ ...whole, nodes: whole.nodes.filter(({ scope }) => isHalf(scope)) });
    expect(rest).toBe(half);
    const first = graph.nodes.find(({ scope }) => scope === 'down_blocks.0.resnets.0.norm1');
    expect(first?.opType).toBe('SkipGroupNorm'); // conv_in and the guide are added there
  });

  it('adds other nets with one dispatch more for each residual', () => {
    const more = controlNetGraph(control, shape, { ...gpu, previous: true });
    expect(dispatches(more) - dispatches(controlNetGraph(control, shape, gpu))).toBe(count);
    expect(more.inputs.filter(({ name }) => name.startsWith('previous.'))).toHaveLength(count);
  });

  it('makes several rows of one picture, each with its own factor, with no dispatch more', () => {
    const one = controlNetGraph(control, { ...shape, batch: 1 }, gpu);
    const rows = controlNetGraph(control, { ...shape, batch: 1, rows: 2 }, gpu);
    expect(dispatches(rows)).toBe(dispatches(one));
    expect(sizes(rows.outputs)).toEqual(sizes(controlNetGraph(control, shape, gpu).outputs));
    const scale = residualIO('residual.00').scale;
    expect(rows.inputs.find(({ name }) => name === scale)?.value.shape).toEqual([2, 1, 1, 1]);
    expect(rows.inputs.find(({ name }) => name === 'sample')?.value.shape[0]).toBe(1);
  });

  it('runs the guide through eight convolutions, once for both branches', () => {
    const graph = controlNetHintGraph(control, shape, gpu);
    expect(graph.nodes.map(({ opType }) => opType)).toEqual([...Array<string>(8).fill('Conv'), 'Expand']);
    expect(controlNetHintGraph(control, { ...shape, batch: 1 }, gpu).nodes).toHaveLength(8);
    const { height, width } = shape;
    expect(graph.inputs[0]?.value.shape).toEqual([1, 8 * height, 8 * width, 3]);
    expect(graph.outputs[0]?.value.shape).toEqual([2, height, width, 320]);
  });

  it.each([
    { batch: 2, rows: 1 },
    { batch: 2, rows: 4 },
  ])('refuses to make other rows of two pictures: %j', (more) => {
    const wrong: ControlNetShape = { ...shape, ...more };
    expect(() => controlNetGraph(control, wrong, gpu)).toThrow(
      `${more.rows} rows of residuals cannot be made from 2 pictures`,
    );
  });
});

it('residuals of odd sizes have the sizes of the skips, in both forms of padding', () => {
  const json = configOf('sd15-unet');
  for (const padding of [0, 1]) {
    const unet = parseUNetConfig({ ...Object(json), downsample_padding: padding });
    // the way up doubles sides, so only the way down can be odd: the graph of a ControlNet has no way up
    const control = parseControlNetConfig({ ...Object(configOf('sd15-controlnet')), downsample_padding: padding });
    const shape = { batch: 1, height: 25, width: 39, textTokens: 77 };
    const made = controlNetGraph(control, shape, gpu).outputs.map(({ value }) => value.shape);
    expect(residualShapes(unet, shape).map(({ n, h, w, c }) => [n, h, w, c])).toEqual(made);
  }
});

it('small nets have attention layers without transformer blocks', () => {
  const json: unknown = { ...Object(configOf('sdxl-controlnet')), transformer_layers_per_block: [0, 0, 1] };
  const shape = { batch: 1, height: 32, width: 32, textTokens: 77 };
  const names = controlNetGraph(parseControlNetConfig(json), shape, gpu).weights.map(({ name }) => name);
  expect(names).toContain('down_blocks.1.attentions.0.proj_in.weight');
  expect(names.filter((name) => /^down_blocks\.1\..*transformer_blocks/.test(name))).toEqual([]);
  expect(names).toContain('down_blocks.2.attentions.1.transformer_blocks.0.norm1.weight');
});
