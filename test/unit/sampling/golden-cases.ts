/** @file Reads the scheduler goldens: which name, configuration and tables belong to a case, and the closed-form model they were run with. */
import type { SchedulerName } from '../../../src/request/scheduler-names.js';
import type { Latent } from '../../../src/sampling/latent.js';
import type { SamplerRequest } from '../../../src/sampling/sampler.js';
import type { RawConfig } from '../../../src/sampling/config.js';
import type { Tables } from '../../../src/sampling/schedules/schedule.js';
import { goldenJson, openGolden } from './safetensors-reader.js';

export interface GoldenCase {
  readonly id: string;
  readonly kind: 'txt2img' | 'img2img' | 'img2img-wanted' | 'refiner';
  readonly variant: string;
  readonly base: string;
  readonly class: string;
  readonly steps: number;
  readonly evals: number;
  readonly seed: number;
  readonly full: boolean;
  readonly initNoiseSigma: number;
  readonly initNoiseSigma64: number;
  readonly noiseAt: readonly number[];
  readonly float32Error: number;
  readonly maxAbs: number;
  readonly timestepType: string;
  readonly imageSeqLen?: number;
  readonly mu?: number;
  readonly stepArguments?: { readonly eta: number };
  readonly strength?: number;
  readonly imageSeed?: number;
  readonly begin?: number;
  readonly splitIndex?: number;
}

export interface GoldenTarget {
  readonly variant: string;
  readonly class?: string;
  readonly overrides?: RawConfig;
  readonly stochastic?: boolean;
  readonly evalsPerRun?: string;
}

interface GoldenName {
  readonly accepted: readonly string[];
  readonly sd?: GoldenTarget;
  readonly flow?: GoldenTarget;
  readonly edm?: GoldenTarget;
}

type GoldenFamily = 'sd' | 'flow' | 'edm';

export const names = goldenJson<{
  readonly names: Readonly<Record<string, GoldenName>>;
  readonly defaults: Readonly<Record<GoldenFamily, readonly { base: string; variant: string }[]>>;
  readonly bases: Readonly<Record<string, { family: GoldenFamily; config: RawConfig }>>;
}>('schedulers/names.json');

export const book = goldenJson<{
  readonly cases: readonly GoldenCase[];
  readonly configs: Readonly<Record<string, { class: string; config: RawConfig }>>;
  readonly fluxShift: readonly { imageSeqLen: number; mu: number }[];
  readonly sameAs: Readonly<Record<string, string>>;
}>('schedulers/cases.json');

/** Names that the goldens know as variants only. */
const EXTRA_NAMES: Readonly<Record<string, SchedulerName>> = {
  'dpmpp-single-sde-trailing': 'DPM++ SDE Uniform',
  'dpmpp-3m-sde': 'DPM++ 3M SDE',
  'dpmpp-3m-sde-karras': 'DPM++ 3M SDE Karras',
  'dpmpp-3m-sde-exponential': 'DPM++ 3M SDE Exponential',
  'dpmpp-3m-sde-beta': 'DPM++ 3M SDE Beta',
  'flow-lcm': 'FlowMatchLCMScheduler',
};

/** Every scheduler name that means `variant` for models of `family`. */
export function namesOf(variant: string, family: GoldenFamily): SchedulerName[] {
  const listed = Object.entries(names.names).filter(([, entry]) => entry[family]?.variant === variant);
  const extra = EXTRA_NAMES[variant];
  return [...listed.map(([name]) => name as SchedulerName), ...(extra === undefined ? [] : [extra])];
}

/** Switches that no name sets but a model's configuration may: the goldens' `x-` variants, as configurations. */
function switched(variant: string, base: RawConfig): RawConfig | undefined {
  if (!variant.startsWith('x-')) return undefined;
  const resolved = book.configs[`${variant}/sd15`];
  return resolved && { ...base, ...resolved.config, _class_name: resolved.class };
}

/** The requests whose result a case holds: one per scheduler name. */
export function requestsOf(c: GoldenCase): SamplerRequest[] {
  const base = names.bases[c.base];
  if (base === undefined) throw new Error(`no base ${c.base}`);
  const shape = {
    steps: c.steps,
    ...(c.imageSeqLen === undefined ? {} : { imageSeqLen: c.imageSeqLen }),
    uniformFlowGrid: c.base.startsWith('flux'),
    ...(c.stepArguments === undefined ? {} : { eta: c.stepArguments.eta }),
  };
  const config = switched(c.variant, base.config);
  if (config !== undefined) return [{ name: 'Default', config, ...shape }];
  const requests = namesOf(c.variant, base.family).map((name) => ({ name, config: base.config, ...shape }));
  if (requests.length === 0) throw new Error(`no name for ${c.variant}`);
  return requests;
}

/** The model of the goldens (cases.json `model`), in double precision. */
export function closedFormModel(u: Latent, timestep: number): Float64Array {
  const tau = timestep / 1000;
  return Float64Array.from(
    u,
    (v, i) => 0.75 * v + 0.2 * Math.sin(2 * v + 5 * tau) + 0.1 * Math.tanh(v * tau) + 0.05 * Math.sin(0.37 * i),
  );
}

const files = new Map<string, ReturnType<typeof openGolden>>();

/** The file of a scheduler class. */
export function fileOf(c: GoldenCase): ReturnType<typeof openGolden> {
  const path = `schedulers/${c.class}.safetensors`;
  const file = files.get(path) ?? openGolden(path);
  files.set(path, file);
  return file;
}

/** One row of a stored [rows, 256] tensor; negative counts from the end. */
export function row(c: GoldenCase, tensor: 'x' | 'x64', index: number): Float64Array {
  const { values, shape } = fileOf(c).read(`${c.id}/${tensor}`);
  const [rows = 0, width = 0] = shape;
  const start = (index < 0 ? rows + index : index) * width;
  return values.slice(start, start + width);
}

const twice = (c: GoldenCase): 'heun' | 'kdpm2' | undefined =>
  c.class.startsWith('Heun') ? 'heun' : c.class.startsWith('KDPM2') ? 'kdpm2' : undefined;

/** Every second of a list whose first element is single. */
const halved = (list: readonly number[]): number[] => list.filter((_, i) => i === 0 || i % 2 === 1);

/** The stored tables of a case, in the library's form: one timestep a step, one sigma a level. */
export function storedTables(c: GoldenCase): Tables {
  const timesteps = [...fileOf(c).read(`${c.id}/timesteps`).values];
  const sigmas = fileOf(c).has(`${c.id}/sigmas`) ? [...fileOf(c).read(`${c.id}/sigmas`).values] : [];
  switch (twice(c)) {
    case 'heun':
      return { timesteps: halved(timesteps), sigmas: halved(sigmas).slice(0, c.steps + 1) };
    case 'kdpm2':
      return {
        timesteps: timesteps.filter((_, i) => i % 2 === 0),
        sigmas: halved(sigmas).slice(0, c.steps + 1),
        middleTimesteps: timesteps.filter((_, i) => i % 2 === 1),
      };
    case undefined:
      return { timesteps: c.class === 'PNDMScheduler' ? withoutRepeats(timesteps, c) : timesteps, sigmas };
  }
}

/** PNDM lists the timestep of every evaluation; a step's is the first of its own. */
function withoutRepeats(timesteps: readonly number[], c: GoldenCase): number[] {
  if (c.variant === 'x-pndm-prk') return timesteps.filter((_, i) => i >= 12 || i % 4 === 0);
  return timesteps.filter((t, i) => i === 0 || t !== timesteps[i - 1]);
}

/** Largest absolute difference. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs((a[i] ?? NaN) - (b[i] ?? NaN));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

/** Largest magnitude. */
export const maxAbs = (a: ArrayLike<number>): number => distance(a, new Float64Array(a.length));
