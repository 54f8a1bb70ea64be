/** @file Which ControlNet acts in which steps, and how strongly on which residual and branch of guidance. Pure. */
import type { ControlMode, ControlNetRequest } from '../request/task.js';

/** One entry of `controlNet[]`, decided. */
export interface PlannedControl {
  readonly model: string;
  readonly weight: number;
  readonly mode: ControlMode;
  /** Acts in the steps `begin` ≤ i < `end` of the schedule, counted from 0. */
  readonly begin: number;
  readonly end: number;
  /** What kind of guide it is, for union nets; absent: not said. */
  readonly unionMode?: number;
}

/**
 * Steps of a request count from 1 and both ends are included; a percentage takes the steps that lie wholly inside, as diffusers'
 * `control_guidance_start` and `control_guidance_end` do.
 */
export function planControl(request: ControlNetRequest, steps: number): PlannedControl {
  const { model, weight, controlMode: mode, startStep, startStepPercentage, endStep, endStepPercentage } = request;
  const begin = startStep === undefined ? Math.ceil(((startStepPercentage ?? 0) * steps) / 100) : startStep - 1;
  const end = endStep === undefined ? Math.floor(((endStepPercentage ?? 100) * steps) / 100) : endStep;
  const { unionMode } = request;
  return { model, weight, mode, begin, end: Math.min(end, steps), ...(unionMode === undefined ? {} : { unionMode }) };
}

/** Whether it acts at all. */
export function acts(control: PlannedControl | undefined): boolean {
  return control !== undefined && control.weight !== 0 && control.begin < control.end;
}

export function actsAt(control: PlannedControl, step: number): boolean {
  return acts(control) && control.begin <= step && step < control.end;
}

/** The last down residual counts fully, each one before it this much less (sd-webui-controlnet's "soft" weights). */
const SOFTENING = 0.825;
/** Of Stable Diffusion 1 and 2, the mid block's, which is the last. Shorter lists take the first of the same weights. */
const LAST_RESIDUAL = 12;

/** Factors of a network's residuals, from the first down block to the mid block. */
export interface ControlScales {
  readonly cond: readonly number[];
  readonly uncond: readonly number[];
}

/**
 * `balanced`: equal on all. `prompt`: soft, so that the prompt decides more. `controlnet`: soft, and only where there is a prompt, so
 * that guidance multiplies what the ControlNet does.
 */
export function scalesOf({ weight, mode }: PlannedControl, residuals: number): ControlScales {
  const cond = Array.from({ length: residuals }, (_, i) =>
    mode === 'balanced' ? weight : weight * SOFTENING ** (LAST_RESIDUAL - i),
  );
  return { cond, uncond: mode === 'controlnet' ? cond.map(() => 0) : cond };
}
