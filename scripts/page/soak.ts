/** @file The soak inside headless Chromium, on the GPU. Heap sizes come from the driving script, which has the developer tools. */
import { soakPictures, type Measured, type SoakResult } from '../lib/soak-pictures.js';
import { aboutSoak, type SoakSet } from '../lib/soak-plan.js';
import type { Harness } from './harness.js';

/**
 * How much each may rise over a whole soak. ONNX Runtime's pool of buffers grows with each kind of task that is new (size, guidance, add-ons),
 * and stays then: of a kind that was seen before, not a buffer is added.
 */
const ALLOWED = {
  tiny: { heapBytes: 3e6, gpuBytes: 10e6, gpuBuffers: 300 },
  flux: { heapBytes: 3e6, gpuBytes: 10e6, gpuBuffers: 300 },
  micro: { heapBytes: 3e6, gpuBytes: 1e6, gpuBuffers: 60 },
} as const satisfies Record<SoakSet, unknown>;

const HEAP = 'measureHeap';
const PROGRESS = 'reportPicture';

/** @param options.seed decides everything @param options.guide a picture as a data URI */
async function run(options: {
  readonly set: SoakSet;
  readonly pictures: number;
  readonly forMs?: number | undefined;
  readonly seed: number;
  readonly guide: string;
  /** Model name → key of a served folder. */
  readonly models: Readonly<Record<string, string>>;
}): Promise<SoakResult> {
  const { createPageEngine } = Reflect.get(globalThis, 'harness') as Harness;
  const engine = createPageEngine({ backend: 'webgpu', models: options.models, about: aboutSoak });
  const measure = async (): Promise<Measured> => ({
    heapBytes: await (Reflect.get(globalThis, HEAP) as () => Promise<number>)(),
  });
  const onPicture = (made: number): void => void (Reflect.get(globalThis, PROGRESS) as (made: number) => unknown)(made);
  const result = await soakPictures({ ...options, engine, measure, onPicture, allowed: ALLOWED[options.set] });
  await engine.dispose();
  return result;
}

const soakPage = { run };
export type SoakPage = typeof soakPage;
Object.assign(globalThis, { soakPage });
