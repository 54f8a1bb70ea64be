/**
 * @file Embeddings through the text encoders on the CPU against diffusers: what cross-attention reads and pooled vectors, of SD 1 and
 * SDXL; that the weight counts; and that a weighting dialect without weights changes nothing.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEmbedding, vectorsFor } from '../../src/assets/embedding-file.js';
import { openModelFiles, stableDiffusion } from '../../src/assets/open-model.js';
import { encodeConditioning, type PromptEmbedding, type PromptsOfPlan } from '../../src/pipeline/conditioning.js';
import { openModel, type LoadedModel } from '../../src/pipeline/model.js';
import { createProgress } from '../../src/pipeline/progress.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { triggersOf } from '../../src/text/trigger-words.js';
import { readGoldenJson, readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';
import { toleranceOf } from '../golden-runner/tolerances.js';

const folder = nodeFolder(join(import.meta.dirname, '../golden'));

interface Case {
  readonly name: string;
  readonly request: {
    readonly model: string;
    readonly positivePrompt: string;
    readonly negativePrompt?: string;
    readonly CFGScale: number;
    readonly embeddings: readonly { readonly model: string; readonly weight?: number }[];
  };
}

type Traced = ReadonlyMap<string, Float32Array | Int32Array>;

let runtime: Runtime;
let cases: readonly Case[];
let golden: ReadonlyMap<string, Float64Array>;
const models = new Map<string, LoadedModel>();

beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  cases = (await readGoldenJson(folder, 'embeddings/cases.json')) as readonly Case[]; // our own test data
  golden = await readTensors(folder, 'embeddings/tensors.safetensors');
});
afterAll(async () => {
  for (const model of models.values()) await model.dispose();
  await runtime.dispose();
});

async function openCached(name: string): Promise<LoadedModel> {
  const model =
    models.get(name) ??
    (await openModel(runtime, stableDiffusion(await openModelFiles(folder.tree(`models/${name}`)))));
  models.set(name, model);
  return model;
}

async function open(name: string, weight: number, model: LoadedModel): Promise<PromptEmbedding> {
  const file = await openEmbedding(folder.tree(`models/${name}`));
  const encoders = model.encoders.map(({ slot, config }) => ({ slot, width: config.hiddenSize }));
  const vectors = vectorsFor(file, encoders, model.name);
  return { name, triggers: triggersOf(file, name), weight, count: file.count, vectors };
}

/** What conditioning shows of the request of a golden case; its embeddings' weights `times` as large. */
async function condition(name: string, changes: Partial<PromptsOfPlan> = {}, times = 1): Promise<Traced> {
  const found = cases.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no case ${name}`);
  const { model: modelName, positivePrompt, negativePrompt, CFGScale, embeddings } = found.request;
  const model = await openCached(modelName);
  const plan: PromptsOfPlan = {
    ...{ positivePrompt, negativePrompt, CFGScale, guided: CFGScale > 1, promptWeighting: undefined },
    ...{ clipSkip: 0, width: 128, height: 128 },
    ...changes,
  };
  const traced = new Map<string, Float32Array | Int32Array>();
  const progress = createProgress(
    { taskUUID: '', numberResults: 1 },
    () => undefined,
    () => 0,
  );
  const trace = (key: string, values: Float32Array | Int32Array): void => void traced.set(key, values.slice());
  const opened = await Promise.all(embeddings.map(({ model: of, weight = 1 }) => open(of, weight * times, model)));
  await encodeConditioning({ runtime, dtype: 'float32' }, model, plan, 'base', { progress, trace }, opened);
  return traced;
}

const OWN = { latentsFinalMaxAbs: 0, decodedMaxAbs: 0, pixelMaxAbs: 0 };

describe('against diffusers', () => {
  it.each([
    ['embedding-in-prompt', ['base.prompt_embeds.cond']],
    ['embedding-negative-appended', ['base.prompt_embeds.uncond']],
    ['embedding-sdxl', ['base.prompt_embeds.cond', 'base.pooled.cond']],
  ])('%s', async (name, keys) => {
    const traced = await condition(name);
    const results = keys.map((key) =>
      compare(key, traced.get(key) ?? [], golden.get(`${name}/${key}`) ?? [NaN], toleranceOf(key, OWN, 1)),
    );
    expect(results.filter((result) => !isWithin(result))).toEqual([]);
  });

  it.each([
    [1, true],
    [-1, true],
    [1.01, false],
  ])('the size of the weight counts: times %d', async (times, same) => {
    const pooled = (await condition('embedding-sdxl', {}, times)).get('base.pooled.cond') ?? [];
    const expected = golden.get('embedding-sdxl/base.pooled.cond') ?? [NaN];
    const tolerance = toleranceOf('base.pooled.cond', OWN, 1);
    expect(isWithin(compare('pooled', pooled, expected, tolerance))).toBe(same);
  });
});

describe('dialects', () => {
  it.each(['compel', 'sdEmbeds'] as const)(
    '%s without weights is the prompt without weighting',
    async (promptWeighting) => {
      const name = 'embedding-in-prompt';
      const states = (await condition(name, { promptWeighting })).get('base.prompt_embeds.cond') ?? [];
      const key = `${name}/base.prompt_embeds.cond`;
      const tolerance = toleranceOf('base.prompt_embeds.cond', OWN, 1);
      expect(isWithin(compare(key, states, golden.get(key) ?? [NaN], tolerance))).toBe(true);
    },
  );
});

describe('SDXL', () => {
  it('an absent negative prompt is zeros, unless an embedding is added to it', async () => {
    const zeros = await condition('embedding-sdxl');
    expect(new Set(zeros.get('base.prompt_embeds.uncond'))).toEqual(new Set([0]));
    const encoded = await condition('embedding-sdxl-negative');
    expect(new Set(encoded.get('base.prompt_embeds.uncond')).size).toBeGreaterThan(1000);
  });
});
