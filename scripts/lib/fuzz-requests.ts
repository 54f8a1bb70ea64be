/** @file Fuzz targets: requests in the wire form and as the library's functions take them. */
import type { ModelDefaults } from '../../src/models/card.js';
import { parseFluxTransformerConfig } from '../../src/models/configs/flux-transformer.js';
import { parseVaeConfig } from '../../src/models/configs/vae.js';
import { makeFluxPlan, type PlannedFlux } from '../../src/pipeline/flux/plan.js';
import type { Plan } from '../../src/pipeline/plan.js';
import { parseRequest } from '../../src/request/facade.js';
import { SCHEDULER_NAMES } from '../../src/request/scheduler-names.js';
import type { ImageInferenceTask, Task } from '../../src/request/task.js';
import { parseTasks } from '../../src/request/tasks.js';
import { toWireTask } from '../../src/request/wire-form.js';
import { isObject, mutateJson } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { judge, must, type Target, type Verdict } from './fuzz-target.js';

const UUIDS = ['3f2c8a9e-9c5b-4d1e-8f7a-0b1c2d3e4f50', '0190d6c5-3c8a-7e1b-9a2f-4b5c6d7e8f90'] as const;
const PICTURE = 'https://example.org/picture.png';

/** A valid task of any type. */
export function anyTask(random: Random): Readonly<Record<string, unknown>> {
  const taskUUID = random.pick(UUIDS);
  const model = 'darkroom:1@1';
  switch (random.int(6)) {
    case 0:
      return { taskType: 'imageUpload', taskUUID, image: PICTURE };
    case 1:
      return {
        taskType: 'controlNetPreprocess',
        taskUUID,
        inputImage: PICTURE,
        preProcessorType: 'canny',
        lowThresholdCanny: 10,
        highThresholdCanny: 20,
      };
    default:
      return {
        taskType: 'imageInference',
        taskUUID,
        positivePrompt: 'a red fox',
        model,
        width: 128 + 64 * random.int(8),
        height: 512,
        ...(random.chance(0.5) ? { negativePrompt: 'blurry', clipSkip: random.int(3), promptWeighting: 'compel' } : {}),
        ...(random.chance(0.5)
          ? { steps: 1 + random.int(100), CFGScale: 7.5, scheduler: random.pick(SCHEDULER_NAMES) }
          : {}),
        ...(random.chance(0.5)
          ? { seed: random.pick([1, 2 ** 32, '9223372036854775807', 2 ** 53]), numberResults: 1 + random.int(20) }
          : {}),
        ...(random.chance(0.3) ? { refiner: { model: 'r', startStepPercentage: 80 } } : {}),
        ...(random.chance(0.3) ? { lora: [{ model: 'l', weight: 1 }], embeddings: [{ model: 'e' }] } : {}),
        ...(random.chance(0.3)
          ? {
              controlNet: [
                { model: 'c', guideImage: PICTURE, weight: 1, startStep: 1, endStep: 5, controlMode: 'balanced' },
              ],
              steps: 10,
            }
          : {}),
        ...(random.chance(0.2)
          ? { outputType: 'base64Data', outputFormat: 'WEBP', outputQuality: 95, includeCost: true }
          : {}),
        ...(random.chance(0.2) ? { seedImage: PICTURE, strength: 0.5 } : {}),
        ...(random.chance(0.3)
          ? { trueCFGScale: random.pick([1, 1.5, 20]), maxSequenceLength: random.pick([1, 64, 512]) }
          : {}),
      };
  }
}

/** A FLUX.1 model, dev or schnell, as far as a planner looks into it. */
function fluxModel(guidanceEmbeds: boolean, defaults: ModelDefaults): PlannedFlux {
  const vae = parseVaeConfig({
    _class_name: 'AutoencoderKL',
    latent_channels: 16,
    block_out_channels: [32, 32, 32, 32],
  });
  const card = { air: 'a', name: 'A', family: 'flux', defaults, latentRgb: { factors: [], bias: [0, 0, 0] } } as const;
  return {
    architecture: 'flux',
    card,
    transformer: { config: parseFluxTransformerConfig({ guidance_embeds: guidanceEmbeds }) },
    vae: { config: vae },
  };
}

/** Requests for FLUX.1, as far as the plan: all that decides the picture. */
const fluxRequest: Target = {
  kind: 'flux-request',
  run(random) {
    const request = {
      positivePrompt: 'a red fox',
      model: 'flux',
      width: 64 * (2 + random.int(31)),
      height: 64 * (2 + random.int(31)),
      seed: random.pick([1, 2 ** 53 - 1, '9223372036854775807']),
      ...(random.chance(0.5) ? { trueCFGScale: random.pick([1, 1.01, 4, 20]) } : {}),
      ...(random.chance(0.5) ? { negativePrompt: 'blurry' } : {}),
      ...(random.chance(0.5) ? { maxSequenceLength: random.pick([1, 2, 256, 512]) } : {}),
      ...(random.chance(0.5) ? { CFGScale: random.pick([0, 1, 3.5, 50]), steps: 1 + random.int(100) } : {}),
      ...(random.chance(0.3) ? { scheduler: random.pick(SCHEDULER_NAMES), numberResults: 1 + random.int(20) } : {}),
      ...(random.chance(0.2) ? { lora: [{ model: 'l', weight: random.pick([0, 1, -4]) }], clipSkip: 1 } : {}),
    };
    const model = fluxModel(
      random.chance(0.5),
      random.chance(0.3) ? { width: 8 * (1 + random.int(200)), steps: 7 } : {},
    );
    return judge(
      () => {
        const task = parseRequest(random.chance(0.1) ? request : mutateJson(request, random), {
          newUUID: () => UUIDS[0],
          model: 'flux',
        });
        return task.taskType === 'imageInference' ? makeFluxPlan(task, model, () => 5n) : undefined;
      },
      (plan) => {
        if (plan !== undefined) checkFluxPlan(plan);
      },
    );
  },
};

function checkFluxPlan(plan: Plan): void {
  const { width, height, latent, steps, CFGScale, flux, seeds, guided, lora } = plan;
  for (const side of [width, height]) must(side % 16 === 0 && side >= 16, () => `a side of ${side}`);
  must(latent.width === width / 8 && latent.height === height / 8, () => `latents of ${latent.width}×${latent.height}`);
  must(
    Number.isInteger(steps) && steps >= 1 && steps <= 100 && Number.isFinite(CFGScale),
    () => `${steps} steps, guidance ${CFGScale}`,
  );
  must(flux !== undefined && flux.textTokens >= 1 && flux.textTokens <= 512, () => `${flux?.textTokens} tokens`);
  must(guided === (flux?.trueCFGScale !== undefined), () => `guided: ${guided}, by ${flux?.trueCFGScale}`);
  must(plan.negativePrompt === undefined || guided, () => 'a negative prompt without guidance');
  must(
    seeds.length >= 1 && seeds.length <= 20 && seeds.every((seed) => seed >= 1n && seed < 2n ** 63n),
    () => `seeds ${seeds.join()}`,
  );
  must(
    lora.every(({ weight }) => weight !== 0),
    () => 'a LoRA without effect',
  );
}

export const requestTargets: readonly Target[] = [
  fluxRequest,
  {
    kind: 'tasks',
    run(random) {
      const list = Array.from({ length: random.pick([1, 1, 2, 5]) }, () => anyTask(random));
      const input = mutateJson(list, random);
      const { tasks, errors } = parseTasks(input); // never throws
      const count = Array.isArray(input) ? input.length : 0;
      must(tasks.length <= count, () => `${tasks.length} of ${count} tasks`);
      must(tasks.length === count || errors.length > 0, () => 'a task went without a word');
      for (const { task } of tasks) checkTask(task);
      for (const { message } of errors) must(message.length < 5000, () => `a message of ${message.length} characters`);
      structuredClone(errors);
      const verdict: Verdict = tasks.length > 0 ? 'accepted' : 'refused';
      return Promise.resolve(verdict);
    },
  },
  {
    kind: 'request',
    run(random) {
      const { taskUUID, ...request } = anyTask(random);
      return judge(
        () => parseRequest(mutateJson(request, random), { newUUID: () => String(taskUUID), model: 'darkroom:1@1' }),
        checkTask,
      );
    },
  },
];

export function checkTask(task: Task): void {
  structuredClone(task);
  must(/^[0-9a-f-]{36}$/i.test(task.taskUUID), () => `UUID ${task.taskUUID}`);
  if (task.taskType === 'imageInference') checkInference(task);
  else if (task.taskType !== 'imageUpload') {
    inside('lowThresholdCanny', task.lowThresholdCanny, 0, 255);
    inside('highThresholdCanny', task.highThresholdCanny, 0, 255);
    must(
      task.lowThresholdCanny < task.highThresholdCanny,
      () => `thresholds ${task.lowThresholdCanny}, ${task.highThresholdCanny}`,
    );
  }
}

function checkInference(task: ImageInferenceTask): void {
  const { width, height, seed } = task;
  for (const side of [width, height]) {
    inside('size', side, 128, 2048);
    must(side === undefined || side % 64 === 0, () => `a side of ${side}`);
  }
  inside('steps', task.steps, 1, 100);
  inside('CFGScale', task.CFGScale, 0, 50, false);
  inside('clipSkip', task.clipSkip, 0, 2);
  inside('numberResults', task.numberResults, 1, 20);
  inside('outputQuality', task.outputQuality, 20, 99);
  inside('strength', task.strength, 0, 1, false);
  inside('trueCFGScale', task.trueCFGScale, 1, 20, false);
  inside('maxSequenceLength', task.maxSequenceLength, 1, 512);
  for (const { weight } of [...task.lora, ...task.embeddings]) inside('weight', weight, -4, 4, false);
  must(seed === undefined || (seed >= 1n && seed < 2n ** 63n), () => `seed ${seed}`);
  const length = [...task.positivePrompt].length;
  must(length >= 2 && length <= 3000, () => `a prompt of ${length}`);
  if (width === undefined || height === undefined) return;
  const again = parseTasks([JSON.parse(JSON.stringify(toWireTask(task)))]);
  must(again.errors.length === 0, () => `its wire form is refused: ${again.errors[0]?.message}`);
  must(sameButWarnings(again.tasks[0]?.task, task), () => 'its wire form says something else');
}

function inside(what: string, value: number | undefined, min: number, max: number, whole = true): void {
  const ok = value === undefined || (value >= min && value <= max && (!whole || Number.isInteger(value)));
  must(ok, () => `${what} ${value}`);
}

function sameButWarnings(a: unknown, b: unknown): boolean {
  const plain = (value: unknown): string =>
    JSON.stringify(isObject(value) ? sorted({ ...value, warnings: [] }) : value, (_, inner: unknown) =>
      typeof inner === 'bigint' ? `${inner}n` : isObject(inner) ? sorted(inner) : inner,
    );
  return plain(a) === plain(b);
}

function sorted(value: Readonly<Record<string, unknown>>): unknown {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
