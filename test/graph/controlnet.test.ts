/** @file ControlNets and the UNets that take their residuals, on the CPU, against diffusers: residuals and predictions of whole steps. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openControlNetFiles, openModelFiles, stableDiffusion } from '../../src/assets/open-model.js';
import type { ComponentFiles } from '../../src/assets/model-files.js';
import { concatFloats } from '../../src/base/arrays.js';
import { CONTROL_IO, controlNetGraph, controlNetHintGraph, residualIO } from '../../src/graphs/controlnet.js';
import { residualShapes, timestepSinusoid, UNET_IO, unetGraph } from '../../src/graphs/unet.js';
import { decodePng } from '../../src/image/png.js';
import { parseControlNetConfig, type ControlNetConfig } from '../../src/models/configs/controlnet.js';
import { parseUNetConfig, type UNetEncoderConfig } from '../../src/models/configs/unet.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import type { Graph } from '../../src/onnx/types.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import type { Arrays } from '../../src/runtime/session.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';

const folder = nodeFolder(join(import.meta.dirname, '../golden'));
const options = { dialect: wasmDialect, dtype: 'float32' } as const;
const WITHIN = { absolute: 5e-5, relative: 0 };
const SIZE = { height: 16, width: 16, textTokens: 77 };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

async function run(files: ComponentFiles, graph: Graph, inputs: Arrays): Promise<Arrays> {
  const model = await runtime.openBank(await files.open()).load(graph);
  const outputs = await model.run(inputs);
  await model.dispose();
  return outputs;
}

/** A case's tensors, and what a network sees at UNet call 0: `branches` in the order of the batch. */
async function readCase(name: string) {
  const golden = await readTensors(folder, `cases/${name}/tensors.safetensors`);
  const get = (key: string): Float32Array => Float32Array.from(golden.get(key) ?? []);
  const inputs = (config: UNetEncoderConfig, branches: readonly string[], call = '00'): Arrays => {
    const each = (of: (branch: string) => Float32Array): Float32Array => concatFloats(branches.map(of));
    const [timestep = 0] = get(`base.unet.${call}.timestep`);
    const { addition } = config;
    return {
      [UNET_IO.sample]: each(() => get(`base.unet.${call}.sample`)),
      [UNET_IO.time]: each(() => timestepSinusoid(timestep, config.blockOutChannels[0] ?? 0, config)),
      [UNET_IO.text]: each((branch) => get(`base.prompt_embeds.${branch}`)),
      ...(addition && {
        [UNET_IO.added]: each((branch) => {
          const ids = [...get(`base.time_ids.${branch}`)];
          return concatFloats([
            get(`base.pooled.${branch}`),
            ...ids.map((id) => timestepSinusoid(id, addition.timeDim, config)),
          ]);
        }),
      }),
    };
  };
  return { golden, inputs };
}

async function openNet(name: string): Promise<{ readonly files: ComponentFiles; readonly config: ControlNetConfig }> {
  const files = await openControlNetFiles(folder.tree(`models/${name}`));
  return { files, config: parseControlNetConfig(files.config) };
}

/** The case's guide picture through the embedding: RGB from 0 to 1, channels first. */
async function hintOf(net: Awaited<ReturnType<typeof openNet>>, name: string, batch: number): Promise<Float32Array> {
  const { data, channels, width, height } = await decodePng(await folder.read(`cases/${name}/guide-0.png`));
  const area = width * height;
  const guide = Float32Array.from(
    { length: 3 * area },
    (_, i) => (data[(i % area) * channels + Math.floor(i / area)] ?? 0) / 255,
  );
  const graph = controlNetHintGraph(net.config, { ...SIZE, batch }, options);
  const { [CONTROL_IO.hint]: hint = new Float32Array() } = await run(net.files, graph, { [CONTROL_IO.guide]: guide });
  return hint;
}

/** Inputs for the scales: `scale(i)` gives those of all rows of residual i. */
function scaleInputs(config: ControlNetConfig, scale: (index: number) => readonly number[]): Arrays {
  const names = residualShapes(config, { ...SIZE, batch: 1 }).map(({ name }) => residualIO(name).scale);
  return Object.fromEntries(names.map((name, i) => [name, Float32Array.from(scale(i))]));
}

/** Golden residuals (by index) that are there, against outputs. */
function expectResiduals(outputs: Arrays, golden: ReadonlyMap<string, Float64Array>, prefix: string, times = 1): void {
  const found = [...golden].filter(([key]) => key.startsWith(prefix));
  expect(found.length).toBeGreaterThanOrEqual(3);
  for (const [key, values] of found) {
    const got = outputs[key.replace(prefix, 'residual.')] ?? [];
    const result = compare(
      key,
      got,
      values.map((value) => times * value),
      WITHIN,
    );
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  }
}

describe('controlMode controlnet: only the branch with the prompt, soft weights', () => {
  const name = 'controlnet-mode-controlnet';
  const soft = (i: number): number => 0.8 * 0.825 ** (12 - i); // weight 0.8

  it('computes one row, and gives zeros for the other', async () => {
    const net = await openNet('controlnet-sd15-edges');
    const { golden, inputs } = await readCase(name);
    const graph = controlNetGraph(net.config, { ...SIZE, batch: 1, rows: 2 }, options);
    const outputs = await run(net.files, graph, {
      ...inputs(net.config, ['cond']),
      ...scaleInputs(net.config, (i) => [0, soft(i)]),
      [CONTROL_IO.hint]: await hintOf(net, name, 1),
    });
    expectResiduals(outputs, golden, 'control.residual.');
  });

  it.each(['00', '03', '05'])('steers the UNet as in diffusers at call %s', async (call) => {
    const net = await openNet('controlnet-sd15-edges');
    const { golden, inputs } = await readCase(name);
    const control = controlNetGraph(net.config, { ...SIZE, batch: 2 }, options);
    const residuals = await run(net.files, control, {
      ...inputs(net.config, ['uncond', 'cond'], call),
      ...scaleInputs(net.config, (i) => [0, soft(i)]),
      [CONTROL_IO.hint]: await hintOf(net, name, 2),
    });
    const { unet } = stableDiffusion(await openModelFiles(folder.tree('models/sd15-tiny')));
    const config = parseUNetConfig(unet.config);
    const graph = unetGraph(config, { ...SIZE, batch: 2 }, { ...options, residuals: true });
    const { [UNET_IO.output]: out } = await run(unet, graph, {
      ...inputs(config, ['uncond', 'cond'], call),
      ...residuals,
    });
    const expected = ['uncond', 'cond'].flatMap((branch) => [...(golden.get(`base.unet.${call}.out.${branch}`) ?? [])]);
    const result = compare(call, out ?? [], expected, WITHIN);
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  });

  it('adds what other nets say', async () => {
    const net = await openNet('controlnet-single');
    const { golden, inputs } = await readCase(name);
    const shapes = residualShapes(net.config, { ...SIZE, batch: 2 });
    const previous = shapes.map(({ name: residual, n, h, w, c }) => {
      const values = golden.get(`control.${residual}`);
      return [residualIO(residual).previous, Float32Array.from(values ?? new Float64Array(n * h * w * c))] as const;
    });
    const graph = controlNetGraph(net.config, { ...SIZE, batch: 1, rows: 2 }, { ...options, previous: true });
    const outputs = await run(net.files, graph, {
      ...inputs(net.config, ['cond']),
      ...scaleInputs(net.config, (i) => [0, soft(i)]),
      ...Object.fromEntries(previous),
      [CONTROL_IO.hint]: await hintOf(net, name, 1),
    });
    expectResiduals(outputs, golden, 'control.residual.', 2);
  });

  it('with global pooling gives the mean of each residual over the picture', async () => {
    const net = await openNet('controlnet-sd15-edges');
    const { golden, inputs } = await readCase(name);
    const pooling = { ...net.config, globalPool: true };
    const shape = { ...SIZE, batch: 1, rows: 2 };
    const outputs = await run(net.files, controlNetGraph(pooling, shape, options), {
      ...inputs(net.config, ['cond']),
      ...scaleInputs(net.config, (i) => [0, soft(i)]),
      [CONTROL_IO.hint]: await hintOf(net, name, 1),
    });
    const means = residualShapes(net.config, { ...SIZE, batch: 2 }).flatMap(({ name: residual, h, w }) => {
      const values = golden.get(`control.${residual}`);
      return values === undefined ? [] : [[`control.${residual}`, meanPlanes(values, h * w)] as const];
    });
    expectResiduals(outputs, new Map(means), 'control.residual.');
  });
});

/** Every plane of `area` pixels replaced by its mean. */
function meanPlanes(values: Float64Array, area: number): Float64Array {
  return values.map((_, i) => {
    const start = i - (i % area);
    return values.subarray(start, start + area).reduce((sum, value) => sum + value, 0) / area;
  });
}

describe('Stable Diffusion XL', () => {
  const name = 'controlnet-sdxl';

  it.each(['00', '02', '04'])('residuals and prediction at call %s', async (call) => {
    const net = await openNet('controlnet-sdxl-edges');
    const { golden, inputs } = await readCase(name);
    const branches = ['uncond', 'cond'];
    const control = controlNetGraph(net.config, { ...SIZE, batch: 2 }, options);
    const residuals = await run(net.files, control, {
      ...inputs(net.config, branches, call),
      ...scaleInputs(net.config, () => [0.7, 0.7]),
      [CONTROL_IO.hint]: await hintOf(net, name, 2),
    });
    if (call === '00') {
      const cond = Object.entries(residuals).map(([key, both]) => [key, both.subarray(both.length / 2)] as const);
      expectResiduals(Object.fromEntries(cond), golden, 'control.0.residual.');
    }
    const { unet } = stableDiffusion(await openModelFiles(folder.tree('models/sdxl-tiny')));
    const config = parseUNetConfig(unet.config);
    const graph = unetGraph(config, { ...SIZE, batch: 2 }, { ...options, residuals: true });
    const { [UNET_IO.output]: out } = await run(unet, graph, { ...inputs(config, branches, call), ...residuals });
    const expected = branches.flatMap((branch) => [...(golden.get(`base.unet.${call}.out.${branch}`) ?? [])]);
    const result = compare(call, out ?? [], expected, WITHIN);
    expect(isWithin(result), JSON.stringify(result)).toBe(true);
  });
});
