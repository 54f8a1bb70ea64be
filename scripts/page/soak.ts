/** @file The soak inside headless Chromium, on the GPU. Heap sizes come from the driving script, which has the developer tools. */
import { soakPictures, type Measured, type SoakResult } from '../lib/soak-pictures.js';
import { BUNDLED, SOAK_MODELS } from '../lib/soak-plan.js';
import type { Harness } from './harness.js';

const HEAP = 'measureHeap';
const PROGRESS = 'reportPicture';

/** @param options.seed decides everything @param options.guide a picture as a data URI */
async function run(options: {
  readonly pictures: number;
  readonly seed: number;
  readonly guide: string;
}): Promise<SoakResult> {
  const { createPageEngine } = Reflect.get(globalThis, 'harness') as Harness;
  const keys = Object.entries(SOAK_MODELS).map(([name, path]) => [name, `golden/${path}`] as const);
  const engine = createPageEngine({ backend: 'webgpu', models: { ...Object.fromEntries(keys), [BUNDLED]: 'bundled' } });
  const measure = async (): Promise<Measured> => ({
    heapBytes: await (Reflect.get(globalThis, HEAP) as () => Promise<number>)(),
  });
  const onPicture = (made: number): void => void (Reflect.get(globalThis, PROGRESS) as (made: number) => unknown)(made);
  const result = await soakPictures({ ...options, engine, measure, onPicture, allowed: { heapBytes: 3e6 } });
  await engine.dispose();
  const { gpuBuffers } = engine.memory();
  const left = gpuBuffers === 0 ? [] : [`${gpuBuffers} GPU buffers are left when the engine is disposed`];
  return { ...result, problems: [...result.problems, ...left] };
}

const soakPage = { run };
export type SoakPage = typeof soakPage;
Object.assign(globalThis, { soakPage });
