/**
 * @file The runtime: which backend, which device, which number format; graphs and weights in, runnable models out.
 * One per worker; everything it made is gone after `dispose`.
 */
import type { WeightFile } from '../assets/weights.js';
import type { FloatType } from '../base/dtype.js';
import { DarkroomError, fail } from '../base/errors.js';
import { webgpuDialect } from '../onnx/dialects/webgpu.js';
import { wasmDialect } from '../onnx/dialects/wasm.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph } from '../onnx/net.js';
import { createBusy, type Busy, type OnBusy } from './busy.js';
import { CANDIDATE_FEATURES, findAdapter, openDevice, type CandidateFeature } from './device.js';
import { keepLedger, type Ledger, type Memory } from './ledger.js';
import { createLock, type Lock } from './lock.js';
import { createOrLost } from './loss.js';
import { webgpuBuild, type LoadOrt, type Ort, type OrtBuild } from './ort.js';
import { watchShortage, type FindShortage } from './out-of-memory.js';
import { findWrongOperator } from './self-test.js';
import { createModel, type Model, type SessionContext } from './session.js';
import { encodeModel } from '../onnx/encode.js';
import { createBank, type BankPolicy, type WeightBank } from './weights.js';
import { createCpuArrays, createGpuArrays, toStored, type DeviceArray } from './device-array.js';

/** What the runtime chose, and why. */
export interface RuntimeInfo {
  readonly backend: 'webgpu' | 'wasm';
  readonly why: string;
  readonly build: OrtBuild;
  readonly dtype: FloatType;
  readonly adapter?: { readonly vendor: string; readonly architecture: string; readonly description: string };
  /** Of the GPU device, in bytes. */
  readonly limits?: { readonly maxBufferSize: number; readonly maxStorageBufferBindingSize: number };
  readonly withheld: readonly { readonly feature: string; readonly why: string }[];
}

export interface RuntimeStats {
  /** Wall time inside `session.run` and number of runs since the start. */
  readonly runMs: number;
  readonly runs: number;
  readonly peakGpuBytes: number;
}

export interface Runtime {
  readonly info: RuntimeInfo;
  readonly dialect: Dialect;
  /** Rejects never, resolves with the reason when the device is lost. */
  readonly lost: Promise<string>;
  readonly shortage: FindShortage;
  openBank(file: WeightFile): WeightBank;
  /** An array on the device, full of zeros. @throws outOfMemory */
  zeros(shape: readonly number[], dtype: FloatType): Promise<DeviceArray>;
  /** A copy of `values` on the device, rounded to `dtype`. @throws outOfMemory */
  upload(values: Float32Array, shape: readonly number[], dtype: FloatType): Promise<DeviceArray>;
  memory(): Memory;
  stats(): RuntimeStats;
  /** Really frees what released sessions held (ONNX Runtime keeps it until the next convolution is prepacked). */
  flush(): Promise<void>;
  dispose(): Promise<void>;
}

/** Remembers self-test verdicts between visits; keys are short strings. */
export interface Memo {
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string): Promise<void>;
}

export interface RuntimeOptions {
  readonly backend: 'auto' | 'webgpu' | 'wasm';
  readonly loadOrt: LoadOrt;
  readonly gpu?: GPU | undefined;
  /** Operators that fall back to the CPU are an error (tests). */
  readonly strictGpu?: boolean;
  readonly memo?: Memo;
  /** Sees the device before ONNX Runtime does (benchmarks count dispatches). */
  readonly observeDevice?: (device: GPUDevice) => void;
  /** Told before and after calls that may block this thread for minutes. */
  readonly onBusy?: OnBusy;
  /** Told where ONNX Runtime ended in the middle of something: no call of it can be trusted after that, whatever the device. */
  readonly onTrap?: () => void;
}

/** @throws deviceUnavailable when WebGPU was asked for and is not there */
export async function createRuntime(options: RuntimeOptions): Promise<Runtime> {
  if (options.backend === 'wasm') return createCpuRuntime(options, 'The CPU was asked for.');
  const adapter = await findAdapter(options.gpu);
  if (typeof adapter !== 'string') {
    try {
      return await createGpuRuntime(options, adapter);
    } catch (error) {
      if (options.backend === 'webgpu' || isLoss(error)) throw error;
      return createCpuRuntime(
        options,
        `WebGPU does not work here (${error instanceof Error ? error.message : String(error)}).`,
      );
    }
  }
  if (options.backend === 'webgpu') throw fail('deviceUnavailable', adapter, { hint: 'Use backend "auto" or "wasm".' });
  return createCpuRuntime(options, adapter);
}

/** A device that is lost while it is opened says nothing against the next one. */
function isLoss(error: unknown): boolean {
  return error instanceof DarkroomError && error.code === 'deviceLost';
}

async function createCpuRuntime(options: RuntimeOptions, why: string): Promise<Runtime> {
  const ort = await options.loadOrt('wasm');
  const counter = countRuns();
  const arrays = createCpuArrays(ort);
  const context: SessionContext = {
    ort,
    lock: createLock(createBusy(options.onBusy)),
    options: { executionProviders: ['wasm'], graphOptimizationLevel: 'disabled' },
    arrays,
    location: 'cpu',
    orLost: (work) => work(),
    onTrap: options.onTrap,
    onRun: counter.add,
  };
  return {
    info: { backend: 'wasm', why, build: 'wasm', dtype: 'float32', withheld: [] },
    dialect: wasmDialect,
    lost: new Promise(() => undefined),
    shortage: () => undefined, // here it is an exception
    openBank: (file) => createBank(context, file, CPU_POLICY),
    zeros: (shape, dtype) => arrays.zeros(shape, dtype),
    upload: (values, shape, dtype) => arrays.store(toStored(values.slice(), dtype), shape, dtype),
    memory: () => ({ gpuBytes: 0, gpuBuffers: 0 }),
    stats: () => ({ ...counter.now(), peakGpuBytes: 0 }),
    flush: () => Promise.resolve(),
    dispose: () => Promise.resolve(),
  };
}

/** An input is copied on each run, and kernels of matrix products are prepacked; so only what changes is one. */
const CPU_POLICY: BankPolicy = { constant: () => true, streams: false, flush: () => Promise.resolve() };

/** A device that passed the self-test, with what it takes to make sessions on it. */
interface Gpu {
  readonly device: GPUDevice;
  readonly context: SessionContext;
  readonly ledger: Ledger;
  readonly lost: Promise<string>;
  readonly shortage: FindShortage;
  readonly dtype: FloatType;
}

async function createGpuRuntime(options: RuntimeOptions, adapter: GPUAdapter): Promise<Runtime> {
  const build = webgpuBuild();
  const ort = await options.loadOrt(build);
  const busy = createBusy(options.onBusy);
  const lock = createLock(busy);
  const counter = countRuns();
  const open = (features: readonly CandidateFeature[]): Promise<Gpu> =>
    openGpu(options, { ort, lock, busy, onRun: counter.add }, features);

  const { features, withheld } = await trustedFeatures(adapter, open, options.memo);
  const gpu = await open(features);
  options.observeDevice?.(gpu.device);
  // One session stays alive: with the last one ONNX Runtime would drop the compiled pipelines.
  const keeper = await flushSession(gpu.context);
  const { vendor, architecture, description } = adapter.info;
  const { maxBufferSize, maxStorageBufferBindingSize } = gpu.device.limits;
  const flush = async (): Promise<void> => (await flushSession(gpu.context)).dispose();
  // Kernels of convolutions are prepacked once; as inputs they are transposed on each run. The other build would take them as one array each, all at once.
  const streams = build === 'jspi';
  const policy: BankPolicy = { constant: ({ use }) => streams && use === 'conv', streams, flush };
  const { arrays } = gpu.context;
  return {
    info: {
      backend: 'webgpu',
      why: options.backend === 'webgpu' ? 'WebGPU was asked for.' : 'WebGPU is available.',
      build,
      dtype: gpu.dtype,
      adapter: { vendor, architecture, description },
      limits: { maxBufferSize, maxStorageBufferBindingSize },
      withheld,
    },
    dialect: webgpuDialect,
    lost: gpu.lost,
    shortage: gpu.shortage,
    openBank: (file) => createBank(gpu.context, file, policy),
    zeros: (shape, dtype) => arrays.zeros(shape, dtype),
    upload: (values, shape, dtype) => arrays.store(toStored(values, dtype), shape, dtype),
    memory: () => gpu.ledger.now(),
    stats: () => ({ ...counter.now(), peakGpuBytes: gpu.ledger.peakBytes() }),
    flush,
    async dispose() {
      await keeper.dispose().catch(() => undefined); // a lost device cannot release, and needs not
      gpu.device.destroy();
    },
  };
}

async function openGpu(
  options: RuntimeOptions,
  parts: { readonly ort: Ort; readonly lock: Lock; readonly busy: Busy; readonly onRun: (ms: number) => void },
  features: readonly CandidateFeature[],
): Promise<Gpu> {
  const device = await openDevice(options.gpu, features);
  const ledger = keepLedger(device);
  const shortage = watchShortage(device);
  const lost = device.lost.then((info) => info.message || `The GPU device was lost (${info.reason}).`);
  const rejects = lost.then((message) => {
    throw fail('deviceLost', message, { hint: 'Try again: the next picture opens a new device.' });
  });
  const strict = options.strictGpu === true ? { extra: { session: { disable_cpu_ep_fallback: '1' } } } : {};
  // The provider's options are typed loosely upstream: `device` is not in its interface, the native provider reads it.
  const provider = { name: 'webgpu', device, storageBufferCacheMode: 'simple' };
  const context: SessionContext = {
    ort: parts.ort,
    lock: parts.lock,
    options: { executionProviders: [provider], graphOptimizationLevel: 'disabled', ...strict },
    arrays: createGpuArrays(parts.ort, device, parts.lock, parts.busy),
    location: 'gpu-buffer',
    orLost: createOrLost(rejects),
    shortage,
    onTrap: options.onTrap,
    onRun: parts.onRun,
  };
  return { device, context, ledger, lost, shortage, dtype: device.features.has('shader-f16') ? 'float16' : 'float32' };
}

type Withheld = RuntimeInfo['withheld'];

/** Drops features, one at a time, until the operators are right. The verdict is remembered per adapter and build. */
async function trustedFeatures(
  adapter: GPUAdapter,
  open: (features: readonly CandidateFeature[]) => Promise<Gpu>,
  memo: Memo | undefined,
): Promise<{ readonly features: readonly CandidateFeature[]; readonly withheld: Withheld }> {
  const offered = CANDIDATE_FEATURES.filter((name) => adapter.features.has(name));
  const { vendor, architecture, device, description } = adapter.info;
  const key = ['self-test', SELF_TEST_VERSION, vendor, architecture, device, description, ...offered].join('|');
  const known = await memo?.get(key);
  if (known !== undefined) {
    const kept = known.split(',');
    const features = offered.filter((name) => kept.includes(name));
    const withheld = offered
      .filter((name) => !kept.includes(name))
      .map((feature) => ({ feature, why: 'It gave wrong numbers in an earlier test.' }));
    return { features, withheld };
  }
  let features: readonly CandidateFeature[] = offered;
  const withheld: { feature: string; why: string }[] = [];
  for (;;) {
    const gpu = await open(features);
    const wrong = await findWrongOperator(gpu.context, gpu.dtype).finally(() => gpu.device.destroy());
    if (wrong === undefined) break;
    const [suspect, ...rest] = features;
    if (suspect === undefined)
      throw fail('deviceUnavailable', `This graphics adapter computes ${wrong} wrong.`, {
        hint: 'Update the browser or the driver, or use backend "wasm".',
      });
    withheld.push({ feature: suspect, why: `With it, ${wrong} gives wrong numbers on this adapter.` });
    features = rest;
  }
  await memo?.set(key, features.join(','));
  return { features, withheld };
}

/** Raise when operators or the pinned ONNX Runtime change. */
const SELF_TEST_VERSION = '1.31.0-dev.20260914-1';

/** A session of one constant 1×1 convolution: making it prepacks a kernel, which frees what released sessions left behind. */
async function flushSession(context: SessionContext): Promise<Model> {
  const graph = writeGraph('flush', { dialect: webgpuDialect, dtype: 'float32' }, (net) => {
    net.output('y', net.conv('flush', net.image('x', { n: 1, h: 1, w: 1, c: 4 }), { channels: 4, kernel: 1 }));
  });
  const { bytes, initializers } = encodeModel(graph, () => 'initializer');
  const externalData = initializers.map(({ weight, path }) => ({
    path,
    data: new Uint8Array(weight.value.shape.reduce((a, b) => a * b, 4)),
  }));
  return createModel(context, { graph, bytes, externalData });
}

function countRuns(): {
  readonly add: (ms: number) => void;
  readonly now: () => { readonly runMs: number; readonly runs: number };
} {
  let runMs = 0;
  let runs = 0;
  return {
    add: (ms) => {
      runMs += ms;
      runs += 1;
    },
    now: () => ({ runMs, runs }),
  };
}
