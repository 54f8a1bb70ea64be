/** @file Windows and strengths of ControlNets, against diffusers' rule and the published soft weights. */
import { describe, expect, it } from 'vitest';
import { acts, actsAt, planControl, scalesOf } from '../../../src/pipeline/control-plan.js';
import type { ControlNetRequest } from '../../../src/request/task.js';

const request = (more: Partial<ControlNetRequest> = {}): ControlNetRequest => ({
  model: 'edges',
  guideImage: '',
  weight: 1,
  controlMode: 'balanced',
  ...more,
});

const stepsOf = (more: Partial<ControlNetRequest>, steps: number): readonly number[] => {
  const control = planControl(request(more), steps);
  return Array.from({ length: steps }, (_, i) => i).filter((i) => actsAt(control, i));
};

/** diffusers `controlnet_keep`: 1 unless i/N < start or (i+1)/N > end (pipeline_controlnet.py). */
const diffusers = (start: number, end: number, steps: number): readonly number[] =>
  Array.from({ length: steps }, (_, i) => i).filter((i) => !(i / steps < start || (i + 1) / steps > end));

describe('windows', () => {
  it('cover the whole run when nothing is said', () => {
    expect(stepsOf({}, 3)).toEqual([0, 1, 2]);
  });

  it('count steps from 1, both ends included', () => {
    expect(stepsOf({ startStep: 2, endStep: 4 }, 6)).toEqual([1, 2, 3]);
    expect(stepsOf({ startStep: 6 }, 6)).toEqual([5]);
  });

  it('may mix steps and percentages', () => {
    expect(stepsOf({ startStep: 2, endStepPercentage: 60 }, 6)).toEqual([1, 2]);
  });

  it('are those of diffusers for every percentage that binary fractions hold exactly', () => {
    for (const steps of [1, 4, 7, 8, 20, 50]) {
      for (const [start, end] of [
        [25, 75],
        [0, 50],
        [50, 100],
        [12.5, 87.5],
      ] as const) {
        const got = stepsOf({ startStepPercentage: start, endStepPercentage: end }, steps);
        expect(got, `${start}–${end} % of ${steps}`).toEqual(diffusers(start / 100, end / 100, steps));
      }
    }
  });

  it('end with the run, and may be empty', () => {
    expect(stepsOf({ startStep: 3, endStep: 50 }, 4)).toEqual([2, 3]);
    expect(acts(planControl(request({ startStep: 9 }), 4))).toBe(false);
    expect(acts(planControl(request({ startStepPercentage: 50, endStepPercentage: 51 }), 4))).toBe(false);
    expect(acts(planControl(request({ weight: 0 }), 4))).toBe(false);
  });
});

describe('scales', () => {
  // https://github.com/Mikubill/sd-webui-controlnet, scripts/hook.py: soft_injection
  const soft = (i: number): number => 0.825 ** (12 - i);

  it('are the weight on all residuals when balanced', () => {
    const { cond, uncond } = scalesOf(planControl(request({ weight: 0.5 }), 4), 13);
    expect(cond).toEqual(Array(13).fill(0.5));
    expect(uncond).toEqual(cond);
  });

  it('are soft in mode prompt, on both branches', () => {
    const { cond, uncond } = scalesOf(planControl(request({ controlMode: 'prompt', weight: 0.5 }), 4), 13);
    cond.forEach((scale, i) => expect(scale).toBeCloseTo(0.5 * soft(i), 12));
    expect(cond[12]).toBe(0.5);
    expect(uncond).toEqual(cond);
  });

  it('leave the unconditional branch alone in mode controlnet', () => {
    const { cond, uncond } = scalesOf(planControl(request({ controlMode: 'controlnet' }), 4), 10);
    expect(cond).toHaveLength(10);
    cond.forEach((scale, i) => expect(scale).toBeCloseTo(soft(i), 12));
    expect(uncond).toEqual(Array(10).fill(0));
  });
});
