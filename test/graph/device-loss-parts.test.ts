/**
 * @file A device that is lost where a picture is made of parts: bands of the decoder and the encoder, the hand-over to a refiner, ControlNets of FLUX.1 and their
 * blocks, several pictures by networks in turn. The bytes are those of an undisturbed run in the same way.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ONE, TASK, createFaulty, run, writeMicroModels, type Made, type MicroModels } from './faulty-engine.js';

let models: MicroModels;
beforeAll(async () => {
  models = await writeMicroModels();
});
afterAll(() => models.remove());

interface Asked {
  readonly task: () => object;
  /** `in turn`: the budget is too small for all networks. `in bands`: memory runs out twice before anything was made, so that the least way is left. */
  readonly how: 'together' | 'in turn' | 'in bands';
  /** Where a device is lost: shares of the sessions and runs of a device that is not lost. */
  readonly at: readonly number[];
  /** How many steps an undisturbed run tells of, at least, in proof that it is made of those parts. */
  readonly parts: number;
}

interface Tried extends Made {
  readonly devices: number;
  readonly calls: number;
}

/** On the first device where anything can be made; it is lost at call `at`. */
async function make({ task, how }: Asked, at: number, when: 'before' | 'during' = 'before'): Promise<Tried> {
  const full = how === 'in bands' ? 2 : 0;
  const faulty = createFaulty(
    models,
    ({ kind, device, onDevice }) => {
      if (kind === 'run' && device <= full) return { throws: new Error('std::bad_alloc') };
      return kind !== 'array' && device === full + 1 && onDevice === at ? { loses: when } : undefined;
    },
    how === 'in turn' ? 1 : undefined,
  );
  const made = await run(faulty, task());
  await faulty.engine.dispose();
  expect([faulty.record.alive, faulty.record.left]).toEqual([0, 0]);
  return { ...made, devices: faulty.record.devices - full, calls: faulty.record.calls };
}

const refined = (): object => ({
  ...ONE,
  model: 'sdxl-tiny',
  refiner: { model: 'sdxl-refiner-tiny', startStep: 2 },
  CFGScale: 1,
  negativePrompt: undefined,
});

describe('a device that is lost', () => {
  it.each<[string, Asked]>([
    ['in the bands of the decoder', { task: () => ONE, how: 'in bands', at: [0.6, 1], parts: 8 }],
    ['with several pictures by networks in turn', { task: () => TASK, how: 'in turn', at: [0.4, 1], parts: 4 }],
    ['around the hand-over to the refiner', { task: refined, how: 'together', at: [0.6, 0.75], parts: 2 }],
    ['in ControlNets of FLUX.1', { task: () => models.fluxTask, how: 'together', at: [0.45, 0.75], parts: 2 }],
    [
      'in the bands of a guide and of the picture, and in nets whose blocks take turns',
      { task: () => ({ ...models.fluxTask, steps: 1 }), how: 'in bands', at: [0.25, 0.5, 0.75], parts: 8 },
    ],
  ])('%s changes no byte', async (_, asked) => {
    const whole = await make(asked, Infinity);
    expect([whole.codes, whole.devices]).toEqual([[], 1]);
    expect(whole.steps).toBeGreaterThanOrEqual(asked.parts);
    for (const [i, share] of asked.at.entries()) {
      const made = await make(asked, Math.floor(share * (whole.calls - 4)), i % 2 === 0 ? 'before' : 'during');
      expect([share, made.codes, made.hashes, made.devices]).toEqual([share, [], whole.hashes, 2]);
      expect(made.warnings.at(-1)).toContain('lost');
      expect(made.seeds).toEqual(whole.seeds);
    }
  });
});
