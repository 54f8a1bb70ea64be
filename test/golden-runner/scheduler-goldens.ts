/**
 * @file The scheduler goldens as data: cases, which requests a case is the result of, its stored tables and rows, and the closed-form
 * model they were run with. Everything comes from the folder's own JSON, so that any folder of this format can be read.
 */
import { EXTRA_SCHEDULER_NAMES, resolveSchedulerName, type SchedulerName } from '../../src/request/scheduler-names.js';
import { SCHEDULER_CLASSES, type SchedulerClass } from '../../src/sampling/classes.js';
import type { RawConfig } from '../../src/sampling/config.js';
import type { Latent } from '../../src/sampling/latent.js';
import { designSampler, type Design, type SamplerRequest } from '../../src/sampling/sampler.js';
import type { Tables } from '../../src/sampling/schedules/schedule.js';
import { readGoldenJson, readTensors, type GoldenFolder } from './files.js';

export interface SchedulerCase {
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
  /** Numbers of the evaluations after which noise was drawn; of the refiner's cases, one list per half. */
  readonly noiseAt: readonly number[] | readonly (readonly number[])[];
  readonly float32Error: number;
  readonly maxAbs: number;
  readonly timestepType: string;
  readonly imageSeqLen?: number;
  /** Null or absent where the shift does not depend on the picture. */
  readonly mu?: number | null;
  readonly stepArguments?: { readonly eta: number };
  readonly strength?: number;
  readonly imageSeed?: number;
  readonly begin?: number;
  readonly baseEvals?: number;
  readonly splitIndex?: number;
}

export type GoldenFamily = 'sd' | 'flow' | 'edm';

interface GoldenName {
  readonly accepted: readonly string[];
  readonly sd?: GoldenTarget;
  readonly flow?: GoldenTarget;
  readonly edm?: GoldenTarget;
}

interface GoldenTarget {
  readonly variant: string;
  readonly stochastic?: boolean;
}

/** `names.json` */
export interface NamesBook {
  readonly names: Readonly<Record<string, GoldenName>>;
  readonly defaults: Readonly<Record<GoldenFamily, readonly { readonly base: string; readonly variant: string }[]>>;
  readonly bases: Readonly<Record<string, { readonly family: GoldenFamily; readonly config: RawConfig }>>;
}

/** `cases.json` */
export interface CaseBook {
  readonly cases: readonly SchedulerCase[];
  /** `variant/base` → what diffusers made of it. */
  readonly configs: Readonly<Record<string, { readonly class: string; readonly config: RawConfig }>>;
  readonly sameAs: Readonly<Record<string, string>>;
  readonly fluxShift: readonly { readonly imageSeqLen: number; readonly mu: number }[];
  /** How many evaluations diffusers gives the base when it cuts by timestep (SDXL's schedule). */
  readonly refinerSplits: readonly {
    readonly variant: string;
    readonly steps: number;
    readonly denoisingEnd: number;
    readonly timesteps: number;
    readonly baseEvals: number;
  }[];
}

/** Name → values, of one safetensors file. */
export type TensorFile = ReadonlyMap<string, Float64Array>;

export interface SchedulerGoldens {
  readonly names: NamesBook;
  readonly book: CaseBook;
  /** A file of the folder `schedulers/` without its ending; read once. */
  readonly file: (name: string) => Promise<TensorFile>;
}

/** A file that a folder may do without. */
export async function optionalFile({ file }: SchedulerGoldens, name: string): Promise<TensorFile> {
  return file(name).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return new Map<string, Float64Array>();
    throw error;
  });
}

/** Values of a latent: (1, 4, 8, 8). */
export const COUNT = 256;

/** @param folder one that holds `schedulers/cases.json`, `schedulers/names.json` and a safetensors file per class */
export async function openSchedulerGoldens(folder: GoldenFolder): Promise<SchedulerGoldens> {
  const files = new Map<string, Promise<TensorFile>>();
  return {
    names: (await readGoldenJson(folder, 'schedulers/names.json')) as NamesBook, // our own test data
    book: (await readGoldenJson(folder, 'schedulers/cases.json')) as CaseBook, // our own test data
    file: (name) => {
      const file = files.get(name) ?? readTensors(folder, `schedulers/${name}.safetensors`);
      files.set(name, file);
      return file;
    },
  };
}

/** Every scheduler name that means `variant` for models like `base`. */
export function namesOf({ names, book }: SchedulerGoldens, variant: string, base: string): readonly SchedulerName[] {
  const { family, config } = baseOf(names, base);
  const listed = Object.entries(names.names).flatMap(([text, entry]) => {
    const name = entry[family]?.variant === variant ? resolveSchedulerName(text) : undefined;
    return name === undefined ? [] : [name];
  });
  if (listed.length > 0) return listed;
  // Names beyond the goldens' list: those that make the variant's class and configuration. What a "trailing" class without
  // spacing does is not in its configuration; such names say Uniform.
  const resolved = book.configs[`${variant}/${base}`];
  if (resolved === undefined || variant.startsWith('x-')) return [];
  const uniform = variant.includes('trailing');
  return EXTRA_SCHEDULER_NAMES.filter((name) => {
    const design = designOf(name, config);
    return (
      design?.className === resolved.class &&
      name.includes('Uniform') === uniform &&
      configDifferences(design, resolved.config).length === 0
    );
  });
}

export function baseOf({ bases }: NamesBook, base: string): NamesBook['bases'][string] {
  const known = bases[base];
  if (known === undefined) throw new Error(`names.json has no base ${base}`);
  return known;
}

function designOf(name: SchedulerName, config: RawConfig): Design | undefined {
  try {
    return designSampler({ name, config });
  } catch {
    return undefined; // the name is not for such models
  }
}

/** Keys of a design that a resolved configuration of diffusers has with another value. */
export function configDifferences({ className, config }: Design, resolved: RawConfig): readonly string[] {
  const ours: Readonly<Record<string, unknown>> = { ...config };
  const plain = (value: unknown): string => JSON.stringify(value === -Infinity ? '-Infinity' : value);
  const known = Object.keys(SCHEDULER_CLASSES[className].defaults).filter((key) => key in resolved);
  // On flow models spacing has no say, and DPM-Solver's curve is applied after the shift (diffusers' flags would use a diffusion schedule).
  const moot = !config.use_flow_sigmas
    ? /^$/
    : className.startsWith('DPMSolver')
      ? /^(timestep_spacing|use_\w+_sigmas)$/
      : /^timestep_spacing$/;
  const compared = known.filter((key) => !moot.test(key));
  return compared.filter((key) => plain(ours[key]) !== plain(resolved[key]));
}

/** Classes that diffusers' goldens call otherwise. */
const CLASS_NAMES: Readonly<Record<string, string>> = { Ipndm: 'IPNDMScheduler' };

/** What a case's requests have in common. */
type Shaped = Pick<SchedulerCase, 'variant' | 'base' | 'steps' | 'imageSeqLen' | 'stepArguments'>;

/**
 * The requests whose result a case holds: one per scheduler name; for a variant without a name, its configuration as a model's own.
 */
export function requestsOf(goldens: SchedulerGoldens, c: Shaped): readonly SamplerRequest[] {
  const { config } = baseOf(goldens.names, c.base);
  const shape = {
    steps: c.steps,
    ...(c.imageSeqLen === undefined ? {} : { imageSeqLen: c.imageSeqLen }),
    uniformFlowGrid: c.base.startsWith('flux'), // FLUX's pipeline gives its scheduler the grid
    ...(c.stepArguments === undefined ? {} : { eta: c.stepArguments.eta }),
  };
  const names = namesOf(goldens, c.variant, c.base);
  if (names.length > 0) return names.map((name) => ({ name, config, ...shape }));
  const resolved = goldens.book.configs[`${c.variant}/${c.base}`];
  if (resolved === undefined) throw new Error(`cases.json has no configuration of ${c.variant}/${c.base}`);
  const own = { ...config, ...resolved.config, _class_name: CLASS_NAMES[resolved.class] ?? resolved.class };
  return [{ name: 'Default', config: own, ...shape }];
}

/** Whether the training table is rescaled to zero terminal SNR, as far as the class knows how. */
export function isZeroSnr({ className, config }: Pick<Design, 'className' | 'config'>): boolean {
  const { defaults }: SchedulerClass = SCHEDULER_CLASSES[className];
  return config.rescale_betas_zero_snr && 'rescale_betas_zero_snr' in defaults;
}

/** The model of the goldens (cases.json `model`), in double precision. */
export function closedFormModel(u: Latent, timestep: number): Float64Array {
  const tau = timestep / 1000;
  return Float64Array.from(
    u,
    (v, i) => 0.75 * v + 0.2 * Math.sin(2 * v + 5 * tau) + 0.1 * Math.tanh(v * tau) + 0.05 * Math.sin(0.37 * i),
  );
}

/** A tensor that must be there. */
export function tensor(file: TensorFile, name: string): Float64Array {
  const values = file.get(name);
  if (values === undefined) throw new Error(`no tensor ${name}`);
  return values;
}

/** The rows of a case's `x` or `x64`. */
export function rows(file: TensorFile, name: string): readonly Float64Array[] {
  const values = tensor(file, name);
  return Array.from({ length: values.length / COUNT }, (_, i) => values.subarray(i * COUNT, (i + 1) * COUNT));
}

/** The first, and of the rest every second one. */
const halved = (list: readonly number[]): number[] => list.filter((_, i) => i === 0 || i % 2 === 1);

/** The stored tables of a case, in the library's form: one timestep a step, one sigma a level. */
export function storedTables(file: TensorFile, c: SchedulerCase, { config }: Pick<Design, 'config'>): Tables {
  const timesteps = [...tensor(file, `${c.id}/timesteps`)];
  const sigmas = [...(file.get(`${c.id}/sigmas`) ?? [])];
  if (c.class.startsWith('Heun')) return { timesteps: halved(timesteps), sigmas: halved(sigmas).slice(0, c.steps + 1) };
  if (c.class.startsWith('KDPM2')) {
    const middleTimesteps = timesteps.filter((_, i) => i % 2 === 1);
    return {
      timesteps: timesteps.filter((_, i) => i % 2 === 0),
      sigmas: halved(sigmas).slice(0, c.steps + 1),
      middleTimesteps,
    };
  }
  if (c.class !== 'PNDMScheduler') return { timesteps, sigmas };
  // PNDM lists the timestep of every evaluation; a step's is the first of its own.
  const rungeKutta = !config.skip_prk_steps;
  const first = (t: number, i: number): boolean =>
    rungeKutta ? i >= 12 || i % 4 === 0 : i === 0 || t !== timesteps[i - 1];
  return { timesteps: timesteps.filter(first), sigmas };
}
