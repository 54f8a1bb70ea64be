/** @file The engine on the CPU: what a caller sees of batches, errors, aborts, previews, formats and the command line. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import { decodePng, readPngText } from '../../src/image/png.js';
import type { WireEvent, WirePicture } from '../../src/pipeline/events.js';

const ROOT = join(import.meta.dirname, '../..');
const MODELS = join(import.meta.dirname, '../golden/models');
const engine = createNodeEngine({ models: { tiny: join(MODELS, 'sd15-tiny') } });
afterAll(() => engine.dispose());

const uuid = (n: number): string => `6ba7b810-9dad-41d1-80b4-00c04fd430c${n}`;
const task = (n: number, more: object = {}) => ({
  taskType: 'imageInference',
  taskUUID: uuid(n),
  model: 'tiny',
  positivePrompt: 'a red fox',
  width: 128,
  height: 128,
  steps: 2,
  CFGScale: 3,
  seed: 5,
  outputFormat: 'PNG',
  ...more,
});

async function collect(input: unknown, signal?: AbortSignal) {
  const events: WireEvent[] = [];
  const outcome = await engine.run(input, { onEvent: (event) => events.push(event), ...(signal ? { signal } : {}) });
  const pictures = events.flatMap((e): WirePicture[] => (e.kind === 'picture' ? [e.picture] : []));
  return { outcome, events, pictures };
}

describe('the engine', () => {
  it('runs the tasks that are right and reports the others', async () => {
    const { outcome, pictures } = await collect([
      task(1),
      task(2, { width: 130 }),
      task(3, { model: 'nobody' }),
      task(4),
    ]);
    expect(pictures.map((p) => p.taskUUID)).toEqual([uuid(1), uuid(4)]);
    expect(outcome.errors.map((e) => [e.code, e.taskUUID])).toEqual([
      ['invalidWidth', uuid(2)],
      ['modelNotFound', uuid(3)],
    ]);
  });

  it('says which entry of a list is wrong, by its place in the request', async () => {
    const nobody = { model: 'nobody', weight: 1 };
    const { outcome } = await collect([
      task(1, { lora: [{ model: 'nobody', weight: 0 }, nobody] }),
      task(2, { embeddings: [nobody] }),
      task(3, { lora: [{ model: 'tiny', weight: 1 }] }),
    ]);
    expect(outcome.errors.map(({ code, message }) => [code, message.slice(0, 8)])).toEqual([
      ['modelNotFound', 'lora[1]:'],
      ['modelNotFound', 'embeddin'],
      ['missingModelFile', 'lora[0]:'],
    ]);
    expect(outcome.errors[1]?.message).toMatch(/^embeddings\[0\]: /);
  });

  it('gives picture i the seed + i, and the same picture as that seed alone', async () => {
    const { pictures } = await collect([
      task(1, { numberResults: 2, seed: '9223372036854775806', scheduler: 'Euler a' }),
    ]);
    expect(pictures.map((p) => p.seed)).toEqual([9223372036854775806n, 9223372036854775807n]);
    const alone = await collect([task(1, { seed: '9223372036854775807', scheduler: 'Euler a' })]);
    expect((await decodePng(alone.pictures[0]?.bytes ?? new Uint8Array())).data).toEqual(
      (await decodePng(pictures[1]?.bytes ?? new Uint8Array())).data,
    );
  });

  it('draws a 32-bit seed when there is none, and says which', async () => {
    const { pictures } = await collect([task(1, { seed: undefined }), task(2, { seed: undefined })]);
    const [a = 0n, b = 0n] = pictures.map((p) => p.seed);
    expect(a).not.toBe(b);
    for (const seed of [a, b]) expect(seed > 0n && seed < 2n ** 32n).toBe(true);
  });

  it('reports every stage, every step and a preview of each step', async () => {
    const { events } = await collect([task(1, { steps: 4 })]);
    const stages = events.flatMap((e) => (e.kind === 'progress' ? [e.stage] : []));
    for (const stage of ['load', 'text', 'denoise', 'decode', 'encode']) expect(stages).toContain(stage);
    expect(events.flatMap((e) => (e.kind === 'progress' && e.step !== undefined ? [e.step] : []))).toEqual([
      1, 2, 3, 4,
    ]);
    const previews = events.flatMap((e) => (e.kind === 'preview' ? [e] : []));
    // The default scheduler of this model is PLMS, which evaluates the network twice in its first step.
    expect(previews.map((p) => [p.step, p.width, p.height, p.rgba.length])).toEqual(
      [1, 1, 2, 3, 4].map((step) => [step, 16, 16, 1024]),
    );
  });

  it('stops within one step of an abort and works afterwards', async () => {
    const controller = new AbortController();
    const events: WireEvent[] = [];
    const { errors } = await engine.run([task(1, { steps: 50 })], {
      signal: controller.signal,
      onEvent(event) {
        events.push(event);
        if (event.kind === 'progress' && event.step === 2) controller.abort();
      },
    });
    expect(errors.map((e) => e.code)).toEqual(['aborted']);
    expect(Math.max(...events.flatMap((e) => (e.kind === 'progress' ? [e.step ?? 0] : [])))).toBeLessThanOrEqual(3);
    expect((await collect([task(1)])).outcome.errors).toEqual([]);
  });

  it('writes JPG and WEBP as asked, and the parameters into a PNG', async () => {
    const { pictures } = await collect([
      task(1, { outputFormat: 'JPG' }),
      task(2, { outputFormat: 'webp', outputQuality: 40 }),
      task(3),
    ]);
    const [jpg, webp, png] = pictures.map((p) => p.bytes);
    expect([...(jpg ?? []).slice(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
    expect(new TextDecoder().decode(webp?.slice(8, 12))).toBe('WEBP');
    const text = await readPngText(png ?? new Uint8Array());
    expect(text['parameters']).toMatch(/^a red fox\nSteps: 2, .*Seed: 5, Size: 128x128/);
    expect(JSON.parse(text['darkroom'] ?? '')).toMatchObject({
      positivePrompt: 'a red fox',
      seed: 5,
      steps: 2,
      model: 'tiny',
    });
  });

  it('takes size, steps and CFG from the model where the request is silent', async () => {
    const { pictures } = await collect({ positivePrompt: 'a red house', model: 'darkroom:1@1', outputFormat: 'PNG' });
    expect(pictures[0]).toMatchObject({ width: 128, height: 128, backend: 'wasm' });
    expect(JSON.parse((await readPngText(pictures[0]?.bytes ?? new Uint8Array()))['darkroom'] ?? '')).toMatchObject({
      steps: 20,
      CFGScale: 4.5,
      scheduler: 'Default',
    });
  });

  it('says in the planner what a model cannot do', async () => {
    const { outcome } = await collect([
      task(1, { scheduler: 'FlowMatchEulerDiscreteScheduler' }),
      task(2, { ultralytics: { confidence: 1 } }),
    ]);
    expect(outcome.errors.map((e) => [e.code, e.parameter, e.taskUUID])).toEqual([
      ['unsupportedParameter', 'ultralytics', uuid(2)],
      ['unsupportedScheduler', 'scheduler', uuid(1)],
    ]);
  });
});

describe('a VAE of its own', () => {
  it('may be a folder or one file, and decodes to the golden picture', async () => {
    const folder = join(MODELS, 'vae-taesd');
    const file = await mkdtemp(join(tmpdir(), 'darkroom-vae-'));
    try {
      await cp(join(folder, 'diffusion_pytorch_model.safetensors'), join(file, 'taesd.safetensors'));
      const models = { 'sd15-tiny': join(MODELS, 'sd15-tiny'), folder, file: join(file, 'taesd.safetensors') };
      const vaes = createNodeEngine({ models });
      const golden = join(MODELS, '../cases/vae-taesd');
      const { request } = JSON.parse(await readFile(join(golden, 'case.json'), 'utf8')) as { request: object };
      const expected = await decodePng(new Uint8Array(await readFile(join(golden, 'image.png'))));
      for (const vae of ['folder', 'file']) {
        const pictures: WirePicture[] = [];
        const { errors } = await vaes.run([{ ...request, vae, taskUUID: uuid(1), outputFormat: 'PNG' }], {
          onEvent: (event) => void (event.kind === 'picture' && pictures.push(event.picture)),
        });
        expect(errors).toEqual([]);
        const { data } = await decodePng(pictures[0]?.bytes ?? new Uint8Array());
        expect(data.every((value, i) => Math.abs(value - (expected.data[i] ?? NaN)) <= 1)).toBe(true);
      }
      await vaes.dispose();
    } finally {
      await rm(file, { recursive: true });
    }
  });
});

describe('npm run generate', () => {
  const run = promisify(execFile);
  const generate = (args: readonly string[]) =>
    run(process.execPath, ['--import', 'tsx', 'scripts/generate.ts', ...args], { cwd: ROOT });

  it('makes a picture from a prompt, and response.json beside it', async () => {
    const out = await mkdtemp(join(tmpdir(), 'darkroom-generate-'));
    try {
      await generate([
        'a red fox',
        '--model',
        `mine=${join(MODELS, 'sd15-tiny')}`,
        '--steps',
        '2',
        '--width',
        '128',
        '--height',
        '128',
        '--seed',
        '9223372036854775807',
        '--out',
        out,
      ]);
      const { data } = JSON.parse(await readFile(join(out, 'response.json'), 'utf8')) as {
        data: { imageURL: string; seedString: string }[];
      };
      expect(data).toHaveLength(1);
      expect(data[0]?.seedString).toBe('9223372036854775807');
      const png = await decodePng(new Uint8Array(await readFile(join(out, data[0]?.imageURL ?? ''))));
      expect([png.width, png.height]).toEqual([128, 128]);
    } finally {
      await rm(out, { recursive: true });
    }
  });

  it('takes a file of tasks, makes what it can, and exits with 1 and the wire errors', async () => {
    const out = await mkdtemp(join(tmpdir(), 'darkroom-generate-'));
    try {
      await writeFile(join(out, 'tasks.json'), JSON.stringify([task(1), task(2, { steps: 0 })]));
      const failure = await generate([
        '--request',
        join(out, 'tasks.json'),
        '--model',
        `tiny=${join(MODELS, 'sd15-tiny')}`,
        '--out',
        out,
      ]).then(
        () => undefined,
        (error: unknown) => error as { code: number; stderr: string },
      );
      expect(failure?.code).toBe(1);
      expect(JSON.parse(failure?.stderr ?? '')).toMatchObject({
        errors: [{ code: 'invalidSteps', taskUUID: uuid(2), min: 1, max: 100 }],
      });
      expect((await readdir(out)).filter((file) => file.endsWith('.png'))).toHaveLength(1);
    } finally {
      await rm(out, { recursive: true });
    }
  });
});
