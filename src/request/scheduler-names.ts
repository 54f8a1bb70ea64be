/** @file The scheduler names of the cloud API (76), a few more that its prose uses, and the spellings that mean the same. Data and one look-up. */

/**
 * The 76 documented names, in the spelling of the documentation
 * (https://runware.ai/docs/en/image-inference/schedulers); what each means is `src/sampling/registry.ts`.
 */
export const SCHEDULER_NAMES = [
  'Default',
  'DDIM',
  'DDIMScheduler',
  'DDPMScheduler',
  'DEISMultistepScheduler',
  'DPMSolverMultistepInverse',
  'DPMSolverMultistepScheduler',
  'DPMSolverSinglestepScheduler',
  'EDMDPMSolverMultistepScheduler',
  'EDMEulerScheduler',
  'Euler',
  'Euler a',
  'Euler Beta',
  'Euler Exponential',
  'Euler Karras',
  'EulerAncestralDiscreteScheduler',
  'EulerDiscreteScheduler',
  'FlowMatchEulerDiscreteScheduler',
  'Heun',
  'Heun Karras',
  'HeunDiscreteScheduler',
  'IPNDM Uniform',
  'IPNDM Uniform Beta',
  'IPNDM Uniform Exponential',
  'IPNDM Uniform Karras',
  'IPNDMScheduler',
  'KDPM2AncestralDiscreteScheduler',
  'KDPM2DiscreteScheduler',
  'LCM',
  'LCMScheduler',
  'LMS',
  'LMS Karras',
  'LMSDiscreteScheduler',
  'PNDMScheduler',
  'TCDScheduler',
  'DPM++',
  'DPM++ Beta',
  'DPM++ Exponential',
  'DPM++ Karras',
  'DPM++ Uniform',
  'DPM++ Uniform Beta',
  'DPM++ Uniform Exponential',
  'DPM++ Uniform Karras',
  'DPM++ SDE',
  'DPM++ SDE Beta',
  'DPM++ SDE Exponential',
  'DPM++ SDE Karras',
  'DPM++ 2M',
  'DPM++ 2M Beta',
  'DPM++ 2M Exponential',
  'DPM++ 2M Karras',
  'DPM++ 2M Uniform',
  'DPM++ 2M SDE',
  'DPM++ 2M SDE Beta',
  'DPM++ 2M SDE Exponential',
  'DPM++ 2M SDE Karras',
  'DPM++ 2M SDE Uniform',
  'DPM++ 3M',
  'DPM++ 3M Beta',
  'DPM++ 3M Exponential',
  'DPM++ 3M Karras',
  'DPM++ 3M Uniform',
  'DPM++ 3M SDE Uniform',
  'UniPC',
  'UniPC Karras',
  'UniPC Uniform',
  'UniPC Uniform Beta',
  'UniPC Uniform Exponential',
  'UniPC Uniform Karras',
  'UniPC 2M',
  'UniPC 2M Karras',
  'UniPC 2M Uniform',
  'UniPC 3M',
  'UniPC 3M Karras',
  'UniPC 3M Uniform',
  'UniPCMultistepScheduler',
] as const;

/** Accepted beyond the list: SDE names that the documentation's prose uses or its pattern implies, and HiDream-I1 Dev's own class. */
export const EXTRA_SCHEDULER_NAMES = [
  'DPM++ SDE Uniform',
  'DPM++ 3M SDE',
  'DPM++ 3M SDE Beta',
  'DPM++ 3M SDE Exponential',
  'DPM++ 3M SDE Karras',
  'FlowMatchLCMScheduler',
] as const;

/** A scheduler name in its one canonical spelling. */
export type SchedulerName = (typeof SCHEDULER_NAMES)[number] | (typeof EXTRA_SCHEDULER_NAMES)[number];

/** Other spellings that people and other programs use, without spaces and in lower case. */
const ALIASES: Readonly<Record<string, SchedulerName>> = {
  eulerancestral: 'Euler a',
  kdpm2: 'KDPM2DiscreteScheduler',
  kdpm2a: 'KDPM2AncestralDiscreteScheduler',
  kdpm2ancestral: 'KDPM2AncestralDiscreteScheduler',
};

const plain = (text: string): string => text.toLowerCase().replace(/\s+/g, '');

/**
 * A name as sent → its canonical spelling, or `undefined` when there is no such scheduler. Case and spaces do not
 * matter, and a class name may leave out its ending `Scheduler`.
 *
 * @example resolveSchedulerName('dpm++2m karras') // 'DPM++ 2M Karras'
 */
export function resolveSchedulerName(text: string): SchedulerName | undefined {
  const wanted = plain(text);
  const names: readonly SchedulerName[] = [...SCHEDULER_NAMES, ...EXTRA_SCHEDULER_NAMES];
  const named = (spelling: string): SchedulerName | undefined => names.find((name) => plain(name) === spelling);
  return (
    named(wanted) ??
    named(wanted + 'scheduler') ??
    named(wanted.replace(/scheduler$/, '')) ??
    (Object.hasOwn(ALIASES, wanted) ? ALIASES[wanted] : undefined)
  );
}
