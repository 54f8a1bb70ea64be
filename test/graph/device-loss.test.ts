/** @file A device that is lost at any call whatsoever: the pictures have the same bytes as without, made once each, and the result says what happened. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { filesTree } from '../../src/assets/file-tree.js';
import type { FileTree } from '../../src/assets/source.js';
import { createEngine } from '../../src/pipeline/engine.js';
import type { WireEvent } from '../../src/pipeline/events.js';
import { aboutSoak, SOAK_MODELS } from '../../scripts/lib/soak-plan.js';
import { GOLDEN, soakGuide } from '../../scripts/lib/soak-node.js';
import { writeMicroControlNet, writeMicroLora, writeMicroModel } from '../micro-model.js';
import { TASK } from './faulty-engine.js';
import { losingOrt, type LossRecord } from './losing-ort.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
  await writeMicroModel(join(folder, 'micro'));
  await writeMicroLora(join(folder, 'micro-lora'));
  await writeMicroControlNet(join(folder, 'micro-control'));
});
afterAll(() => rm(folder, { recursive: true }));

const openTree = (name: string): FileTree => {
  const golden = SOAK_MODELS[name];
  return { ...folderTree(golden === undefined ? join(folder, name) : join(GOLDEN, golden)), ...aboutSoak(name) };
};

interface Run {
  readonly pictures: readonly { readonly png: string; readonly seed: bigint; readonly warnings: readonly string[] }[];
  readonly errors: readonly string[];
  readonly record: LossRecord;
  /** Steps that were reported, of all attempts. */
  readonly steps: number;
}

/** A task, and what memory there is for it. */
interface Asked {
  readonly task: Readonly<Record<string, unknown>>;
  readonly memoryBudgetBytes?: number;
}

/** The task on devices that are lost at the calls that `isLoss` names. The seed is drawn: it must not be drawn again. */
async function make(
  isLoss: (call: number) => boolean,
  how: 'before' | 'during' = 'before',
  { task, memoryBudgetBytes }: Asked = { task: TASK },
): Promise<Run> {
  const record: LossRecord = { calls: 0, devices: 0, losses: 0, alive: 0 };
  let seeds = 41n;
  const engine = createEngine({
    runtime: { backend: 'wasm', loadOrt: losingOrt(isLoss, record, how) },
    openTree,
    encodePicture: () => Promise.reject(new Error('PNG is asked for')),
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => seeds++,
    now: () => performance.now(),
    defaultModel: 'micro',
    memoryBudgetBytes,
  });
  const events: WireEvent[] = [];
  const { errors } = await engine.run([task], { onEvent: (event) => events.push(event) });
  await engine.dispose();
  expect(record.alive).toBe(0);
  return {
    pictures: events.flatMap((event) =>
      event.kind === 'picture'
        ? [
            {
              png: Buffer.from(event.picture.bytes).toString('base64'),
              seed: event.picture.seed,
              warnings: event.picture.warnings,
            },
          ]
        : [],
    ),
    errors: errors.map(({ code }) => code),
    record,
    steps: events.filter((event) => event.kind === 'progress' && event.step !== undefined).length,
  };
}

const pngs = ({ pictures }: Run): readonly string[] => pictures.map(({ png }) => png);
const never = (): boolean => false;

describe('a device that is lost', () => {
  it.each([
    ['before', 1],
    ['during', 4],
  ] as const)('%s any one call changes no byte of any picture', async (how, every) => {
    const whole = await make(never);
    expect([whole.errors, whole.record.devices, whole.pictures.length]).toEqual([[], 1, 2]);
    expect(whole.record.calls).toBeGreaterThanOrEqual(10);
    for (let call = 1; call <= whole.record.calls; call += every) {
      const run = await make((n) => n === call, how);
      expect(run.errors, `call ${call}`).toEqual([]);
      expect(pngs(run), `call ${call}`).toEqual(pngs(whole));
      expect(run.pictures.map(({ seed }) => seed)).toEqual([41n, 42n]);
      expect([run.record.devices, run.record.losses]).toEqual([2, 1]);
      // Told of the pictures that were made after it, which is at least the last one.
      const told = run.pictures.map(({ warnings }) => warnings.some((text) => text.includes('lost')));
      expect(told.at(-1)).toBe(true);
      // A finished picture is not made again: at most the steps of one picture are repeated.
      expect(run.steps - whole.steps).toBeLessThanOrEqual(TASK.steps);
      if (told[0] === false) expect(run.record.calls).toBeLessThan(2 * whole.record.calls);
    }
  });

  it('twice in one task changes nothing either, whatever the calls', async () => {
    const whole = await make(never);
    for (let first = 1; first <= whole.record.calls; first += 4) {
      for (const gap of [1, 4]) {
        const run = await make((n) => n === first || n === first + gap);
        expect([run.errors, pngs(run)], `calls ${first} and ${first + gap}`).toEqual([[], pngs(whole)]);
        expect(run.record.devices).toBe(1 + run.record.losses);
      }
    }
  });

  it('three times is given up with a typed error, and the pictures that were finished are there', async () => {
    const whole = await make(never);
    const run = await make((n) => n >= whole.record.calls);
    expect(run.errors).toEqual(['deviceLost']);
    expect(run.record.losses).toBe(3);
    expect(pngs(run)).toEqual(pngs(whole).slice(0, 1));
  });

  it('is no reason to go on after an abort', async () => {
    const controller = new AbortController();
    const record: LossRecord = { calls: 0, devices: 0, losses: 0, alive: 0 };
    const isLoss = (call: number): boolean => {
      if (call === 4) controller.abort();
      return call === 4;
    };
    const engine = createEngine({
      runtime: { backend: 'wasm', loadOrt: losingOrt(isLoss, record, 'before') },
      openTree,
      encodePicture: () => Promise.reject(new Error('PNG is asked for')),
      newUUID: () => crypto.randomUUID(),
      randomSeed: () => 1n,
      now: () => performance.now(),
      defaultModel: 'micro',
    });
    const { errors } = await engine.run([TASK], { signal: controller.signal });
    expect(errors.map(({ code }) => code)).toEqual(['aborted']);
    expect(record.devices).toBe(1);
    expect((await engine.run([TASK])).errors).toEqual([]);
    await engine.dispose();
  });
});

describe('a device that is lost at a call here and there', () => {
  const ONE = { ...TASK, numberResults: 1 };
  const FLUX = { ...ONE, model: 'flux-4-bits', scheduler: 'Default' };
  it.each<[string, number, () => Asked]>([
    [
      'under a LoRA and a ControlNet',
      5,
      () => ({
        task: {
          ...ONE,
          lora: [{ model: 'micro-lora', weight: 0.7 }],
          controlNet: [{ model: 'micro-control', guideImage: soakGuide(), weight: 0.6 }],
        },
      }),
    ],
    ['while networks take turns', 3, () => ({ task: ONE, memoryBudgetBytes: 1e5 })],
    [
      'while blocks of few bits take turns, with a LoRA beside them',
      13,
      () => ({ task: { ...FLUX, lora: [{ model: 'flux-lora-kohya-all', weight: 1 }] }, memoryBudgetBytes: 1e6 }),
    ],
  ])('%s changes no byte', async (_, every, ask) => {
    const asked = ask();
    const whole = await make(never, 'before', asked);
    expect([whole.errors, whole.pictures.length]).toEqual([[], 1]);
    expect(whole.record.calls).toBeGreaterThan(2 * every);
    for (let call = 1, n = 0; call <= whole.record.calls; call += every, n++) {
      const run = await make((k) => k === call, n % 2 === 0 ? 'before' : 'during', asked);
      expect([run.errors, pngs(run), run.record.devices], `call ${call}`).toEqual([[], pngs(whole), 2]);
    }
  });
});

describe('a device that is lost under a preprocessor', () => {
  const EDGES = join(import.meta.dirname, '../golden/unit/preprocess-edges');

  /** The guide that softedge draws. */
  async function draw(isLoss: (call: number) => boolean) {
    const record: LossRecord = { calls: 0, devices: 0, losses: 0, alive: 0 };
    const network = new Blob([await readFile(join(EDGES, 'ControlNetHED.safetensors'))]);
    const engine = createEngine({
      runtime: { backend: 'wasm', loadOrt: losingOrt(isLoss, record, 'before') },
      openTree: () => filesTree('ControlNetHED', [{ path: 'ControlNetHED.safetensors', file: network }]),
      encodePicture: () => Promise.reject(new Error('PNG is asked for')),
      newUUID: () => crypto.randomUUID(),
      randomSeed: () => 1n,
      now: () => performance.now(),
      defaultModel: 'micro',
    });
    const inputImage = `data:image/png;base64,${(await readFile(join(EDGES, 'picture.png'))).toString('base64')}`;
    const task = { taskType: 'controlNetPreprocess', taskUUID: TASK.taskUUID, inputImage, outputFormat: 'PNG' };
    const guides: { readonly png: string; readonly warnings: readonly string[] }[] = [];
    const { errors } = await engine.run([{ ...task, preProcessorType: 'softedge' }], {
      onEvent(event) {
        if (event.kind !== 'guide') return;
        guides.push({ png: Buffer.from(event.guide.bytes).toString('base64'), warnings: event.guide.warnings });
      },
    });
    await engine.dispose();
    expect(record.alive).toBe(0);
    return { guides, errors: errors.map(({ code }) => code), record };
  }

  it('at any call is replaced, and the guide has the same bytes', async () => {
    const whole = await draw(never);
    expect([whole.errors, whole.guides.length]).toEqual([[], 1]);
    expect(whole.record.calls).toBeGreaterThanOrEqual(2); // it is made, and runs
    for (let call = 1; call <= whole.record.calls; call++) {
      const { guides, errors, record } = await draw((n) => n === call);
      expect([errors, record.devices], `call ${call}`).toEqual([[], 2]);
      expect(guides, `call ${call}`).toEqual([
        { png: whole.guides[0]?.png, warnings: [expect.stringContaining('lost') as string] },
      ]);
    }
  });

  it('for the third time is a typed error', async () => {
    const { guides, errors, record } = await draw(() => true);
    expect([guides, errors, record.losses]).toEqual([[], ['deviceLost'], 3]);
  });
});
