/** @file Our own GPUDevice: all of the adapter's limits, and only the features asked for. */
import { fail } from '../base/errors.js';

/** Features that ONNX Runtime makes use of, in the order in which the self-test withdraws them. */
export const CANDIDATE_FEATURES = ['subgroups', 'shader-f16'] as const;
export type CandidateFeature = (typeof CANDIDATE_FEATURES)[number];

/** The adapter for heavy work, or the reason why there is none. */
export async function findAdapter(gpu: GPU | undefined): Promise<GPUAdapter | string> {
  if (gpu === undefined) return 'This browser has no WebGPU.';
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    return adapter ?? 'WebGPU found no usable graphics adapter.';
  } catch (error) {
    return `WebGPU could not be asked for an adapter (${error instanceof Error ? error.message : String(error)}).`;
  }
}

/** A new device; each needs a fresh adapter, since an adapter gives only one. @throws deviceUnavailable */
export async function openDevice(gpu: GPU | undefined, features: readonly CandidateFeature[]): Promise<GPUDevice> {
  const adapter = await findAdapter(gpu);
  if (typeof adapter === 'string') throw fail('deviceUnavailable', adapter, { hint: 'Use backend "auto" or "wasm".' });
  try {
    return await adapter.requestDevice({
      label: 'darkroom',
      requiredFeatures: features.filter((name) => adapter.features.has(name)),
      requiredLimits: allLimits(adapter.limits),
    });
  } catch (error) {
    throw fail(
      'deviceUnavailable',
      `The graphics adapter gave no device: ${error instanceof Error ? error.message : String(error)}`,
      {
        hint: 'Close other pages that use the GPU, or use backend "wasm".',
        cause: error,
      },
    );
  }
}

/** Every numeric limit of the adapter; the defaults (128 MB bindings) are too small for pictures. */
function allLimits(limits: GPUSupportedLimits): Record<string, number> {
  const out: Record<string, number> = {};
  for (const key in limits) {
    const value: unknown = Reflect.get(limits, key);
    if (typeof value === 'number') out[key] = value;
  }
  return out;
}
