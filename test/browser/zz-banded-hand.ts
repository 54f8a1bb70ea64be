import { readDiffusersFolder } from '../../src/assets/diffusers-folder.js';
import { urlTree } from '../../src/assets/url-tree.js';
import { parseAutoencoderKLConfig } from '../../src/models/configs/autoencoder-kl.js';
import { vaeDecoderGraph, VAE_IO } from '../../src/graphs/autoencoder-kl.js';
import { bandedGraphs, decodeBands } from '../../src/pipeline/banded-decoder.js';
import { cut, planBands } from '../../src/pipeline/banded-plan.js';
import { createComponent } from '../../src/pipeline/component.js';
import { fromDialect, stackBands, toDialect } from '../../src/pipeline/layout.js';
import { createProgress } from '../../src/pipeline/progress.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';
import { createRuntime } from '../../src/runtime/runtime.js';
import { readTensors } from '../golden-runner/files.js';
import { compare } from '../golden-runner/report.js';
import { fakeWeightFile, noise, seedOf } from '../unit/runtime/fake-weight-file.js';

const quiet = () => ({ progress: createProgress({ taskUUID: '', numberResults: 1 }, () => undefined, () => 0) });
const make = () => createRuntime({ backend: 'webgpu', strictGpu: true, loadOrt: loadOrtInBrowser, gpu: navigator.gpu });
const folder = {
  read: async (p: string) => new Uint8Array(await (await fetch(`/folder/goldens/${p}`)).arrayBuffer()),
  tree: (p: string) => urlTree(new URL(`/folder/goldens/${p}/`, location.href).href, { fetch: (a: any, b: any) => fetch(a, b) }),
};

async function golden(name: string, model: string, rows: number, wholeBlocks: number) {
  const runtime = await make();
  const { vae } = await readDiffusersFolder(folder.tree(`models/${model}`) as any);
  const config = parseAutoencoderKLConfig(vae.config);
  const g = await readTensors(folder as any, `cases/${name}/tensors.safetensors`);
  const latents = Float32Array.from(g.get('decode.input') ?? []);
  const component = createComponent(runtime, await vae.open());
  const shape = { config, width: 16, plan: { heights: cut(16, Math.ceil(16 / rows)), wholeBlocks } };
  const models = await component.loadAll('bands', () => bandedGraphs(shape, runtime.dialect), quiet());
  const before = runtime.memory();
  const bands = await decodeBands(runtime, shape, models, toDialect(runtime.dialect.layout, latents, 4), undefined);
  const after = runtime.memory();
  await decodeBands(runtime, shape, models, toDialect(runtime.dialect.layout, latents, 4), undefined);
  const again = runtime.memory();
  const picture = fromDialect(runtime.dialect.layout, stackBands(runtime.dialect.layout, bands, 3), 3);
  const result = compare('decoded', picture, g.get('decoded') ?? [], { absolute: 2e-5, relative: 0 });
  await component.dispose();
  await runtime.dispose();
  return { name, rows, ...result, before, after, again };
}

async function timing(side: number, rows: number | undefined, widths: number[]) {
  const config = parseAutoencoderKLConfig({ block_out_channels: widths, layers_per_block: 2, norm_num_groups: 8, down_block_types: widths.map(() => 'DownEncoderBlock2D'), up_block_types: widths.map(() => 'UpDecoderBlock2D') });
  const options = { dialect: (await make()).dialect, dtype: 'float32' } as const;
  const whole = vaeDecoderGraph(config, { batch: 1, height: side, width: side }, options);
  const shapes: Record<string, readonly number[]> = {};
  for (const w of whole.weights) for (const t of w.tensors) shapes[t] = w.tensors.length > 1 || w.value.shape.length !== 2 ? w.value.shape : w.value.shape;
  const { file } = fakeWeightFile(shapes as any, (name: string, count: number) => {
    const fan = Math.max(1, count / (shapes[name]?.[0] ?? 1));
    const n = noise(seedOf(name), count, /norm.*weight/.test(name) ? 0.2 : 1.5 / Math.sqrt(fan));
    return /norm.*weight/.test(name) ? n.map((x) => 1 + x) : n;
  });
  const latents = noise(5, side * side * 4, 1);
  const out: any = { side, rows, widths };
  let ref: Float32Array | undefined;
  for (const mode of ['whole', 'bands']) {
    const runtime = await make();
    const component = createComponent(runtime, file as any);
    const plan = planBands(config, { height: side, width: side }, rows ?? 'always', { graph: () => whole, info: runtime.info });
    const shape = { config, width: side, plan: plan! };
    const t0 = performance.now();
    const models = mode === 'whole' ? [await component.load('w', () => whole, quiet())] : await component.loadAll('b', () => bandedGraphs(shape, runtime.dialect), quiet());
    const t1 = performance.now();
    const times = [];
    let pic: Float32Array = new Float32Array();
    for (let i = 0; i < 2; i++) {
      const s = performance.now(); const c0 = await (globalThis as any).gpuCpu();
      pic = mode === 'whole' ? (await models[0]!.run({ [VAE_IO.latents]: latents }))[VAE_IO.picture]! : stackBands('nhwc', await decodeBands(runtime, shape, models, latents, undefined), 3);
      times.push([Math.round(performance.now() - s), (await (globalThis as any).gpuCpu()) - c0]);
    }
    out[mode] = { plan: mode === 'bands' ? [plan!.heights.length, plan!.wholeBlocks] : undefined, load: Math.round(t1 - t0), times, peak: runtime.stats().peakGpuBytes, now: runtime.memory() };
    if (ref === undefined) ref = pic;
    else out.difference = compare('d', pic, ref, { absolute: 0, relative: 0 }).worst;
    out.range = [Math.min(...pic.subarray(0, 1000)), Math.max(...pic.subarray(0, 1000))];
    await component.dispose();
    await runtime.dispose();
  }
  return out;
}
(globalThis as any).hand = { golden, timing };
