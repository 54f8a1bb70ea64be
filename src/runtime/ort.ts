/** @file The ONNX Runtime Web builds and how each is loaded: lazily, so that a page pays nothing before its first picture. */
import type * as OrtModule from 'onnxruntime-web';

export type Ort = typeof OrtModule;
/** `jspi` and `asyncify` are the native WebGPU provider; `wasm` is the CPU alone. */
export type OrtBuild = 'jspi' | 'asyncify' | 'wasm';
export type LoadOrt = (build: OrtBuild) => Promise<Ort>;

/** Loads a build in a browser. JSPI starts faster and streams weights, asyncify runs where JSPI is missing. */
export const loadOrtInBrowser: LoadOrt = async (build) => {
  const ort = await importBuild(build);
  // Without cross-origin isolation there is one thread anyway; the GPU does not need more.
  if (build !== 'wasm') ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  return ort;
};

function importBuild(build: OrtBuild): Promise<Ort> {
  switch (build) {
    case 'jspi':
      return import('onnxruntime-web/jspi');
    case 'asyncify':
      return import('onnxruntime-web/webgpu');
    case 'wasm':
      return import('onnxruntime-web/wasm');
    default:
      return build satisfies never;
  }
}

/** Which WebGPU build this environment can run. */
export function webgpuBuild(): 'jspi' | 'asyncify' {
  return 'Suspending' in WebAssembly ? 'jspi' : 'asyncify';
}
