/** @file Counts the GPU buffers that are alive on a device, ours and ONNX Runtime's, so that a leak is a number. */

export interface Memory {
  readonly gpuBytes: number;
  readonly gpuBuffers: number;
}

export interface Ledger {
  now(): Memory;
  /** Most bytes alive at once since the start. */
  peakBytes(): number;
}

/** Wraps `createBuffer` and each buffer's `destroy` of this device object. */
export function keepLedger(device: GPUDevice): Ledger {
  const alive = new Map<GPUBuffer, number>();
  let bytes = 0;
  let peak = 0;
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    alive.set(buffer, descriptor.size);
    bytes += descriptor.size;
    peak = Math.max(peak, bytes);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      bytes -= alive.get(buffer) ?? 0;
      alive.delete(buffer);
      return destroy();
    };
    return buffer;
  };
  return { now: () => ({ gpuBytes: bytes, gpuBuffers: alive.size }), peakBytes: () => peak };
}
