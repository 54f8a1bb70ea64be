/** @file What runs inside headless Chromium for `bench/flux.ts`: FLUX.1's blocks on the GPU. */
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { loadOrtInBrowser } from '../src/runtime/ort.js';
import { createRuntime, type RuntimeInfo } from '../src/runtime/runtime.js';
import { timeBlock, timeStreaming, type BlockForm, type BlockTime, type StreamTime } from './flux-blocks.js';

export interface FluxBench {
  readonly info: RuntimeInfo;
  time(form: Omit<BlockForm, 'dialect'>, repeat: number): Promise<BlockTime>;
  timeStreaming(form: Omit<BlockForm, 'dialect'>, count: number): Promise<StreamTime>;
  dispose(): Promise<void>;
}

/** @throws where there is no WebGPU */
export async function openFluxBench(): Promise<FluxBench> {
  const runtime = await createRuntime({ backend: 'webgpu', loadOrt: loadOrtInBrowser, gpu: navigator.gpu });
  return {
    info: runtime.info,
    time: (form, repeat) => timeBlock(runtime, { ...form, dialect: webgpuDialect }, repeat),
    timeStreaming: (form, count) => timeStreaming(runtime, { ...form, dialect: webgpuDialect }, count),
    dispose: () => runtime.dispose(),
  };
}

Object.assign(globalThis, { openFluxBench });
