/** @file A sampler: scheduler name + model configuration + number of steps → schedule, step rule and scalings of one run. Pure. */
import { fail } from '../base/errors.js';
import type { SchedulerName } from '../request/scheduler-names.js';
import {
  isClassName,
  preconditioningOf,
  SCHEDULER_CLASSES,
  type ClassName,
  type Family,
  type SchedulerClass,
} from './classes.js';
import { completeConfig, configValue, type ConfigPart, type RawConfig, type SchedulerConfig } from './config.js';
import type { Interval } from './level.js';
import type { Precondition } from './preconditioning.js';
import { SCHEDULERS, type Recipe } from './registry.js';
import type { Rule } from './rules/rule.js';
import type { RunShape, Schedule, Tables } from './schedules/schedule.js';

/** What decides a sampler. */
export interface SamplerRequest extends RunShape {
  readonly name: SchedulerName;
  /** The model's own `scheduler_config.json`, parsed. */
  readonly config: RawConfig;
  /** DDIM's η (0 by default) or TCD's γ (0.3), 0…1. Other samplers have none. */
  readonly eta?: number | undefined;
}

/** Everything about a run but its latents: data, and two pure functions. */
export interface Sampler {
  readonly name: SchedulerName;
  /** The scheduler class in diffusers' spelling. */
  readonly className: ClassName;
  readonly family: Family;
  /** The completed configuration. */
  readonly config: SchedulerConfig;
  readonly steps: number;
  /** The timestep of every evaluation of the network, in order; longer than `steps` for rules that evaluate twice. */
  readonly timesteps: readonly number[];
  /** σ/α (flow: σ) at the start of each step and at the end. */
  readonly sigmas: readonly number[];
  /** What unit noise is multiplied by to become the first latent. */
  readonly initNoiseSigma: number;
  /** Whether noise is drawn during the run. */
  readonly stochastic: boolean;
  /** How often a whole run evaluates the network. */
  readonly evaluations: number;
  readonly intervals: readonly Interval[];
  readonly rule: Rule;
  readonly precondition: Precondition;
}

/** The parts from which a sampler is put together, before its tables are made. */
export interface Design {
  readonly name: SchedulerName;
  readonly className: ClassName;
  readonly family: Family;
  readonly config: SchedulerConfig;
  readonly schedule: Schedule;
  readonly rule: Rule;
  readonly precondition: Precondition;
}

/** The class that a model's configuration names, if it is one of ours. */
function ownClass(config: RawConfig): string {
  const name = config['_class_name'];
  if (typeof name !== 'string' || name === '')
    throw fail(
      'invalidModelConfig',
      `scheduler_config.json: _class_name is ${JSON.stringify(name)}, expected a scheduler class.`,
    );
  return name;
}

/** The family of the model that a configuration belongs to. */
export function familyOf(config: RawConfig): Family {
  const name = typeof config['_class_name'] === 'string' ? config['_class_name'] : '';
  if (name.startsWith('EDM')) return 'edm';
  const flow =
    name.startsWith('FlowMatch') ||
    configValue(config, 'use_flow_sigmas') === true ||
    configValue(config, 'prediction_type') === 'flow_prediction';
  return flow ? 'flow' : 'diffusion';
}

function recipeFor(name: SchedulerName, config: RawConfig, family: Family): Recipe {
  if (name === 'Default') {
    const className = ownClass(config);
    if (isClassName(className)) return { class: className, overrides: {}, options: {} };
    throw fail(
      'unsupportedScheduler',
      `The model's own scheduler is ${className}, which is not supported; supported are ${Object.keys(SCHEDULER_CLASSES).join(', ')}.`,
      { parameter: 'scheduler', type: 'string', hint: 'Name a scheduler in the request.' },
    );
  }
  const entry = SCHEDULERS[name];
  const recipe = entry[family];
  if (recipe !== undefined) return recipe;
  const reason = entry.because ?? 'there is no such combination';
  throw fail('unsupportedScheduler', `Scheduler ${name} cannot sample this model (a ${family} model): ${reason}.`, {
    parameter: 'scheduler',
    type: 'string',
    hint: "Leave scheduler out to use the model's own.",
  });
}

/** A flow model's shift has one key in the flow-matching classes (`shift`) and another in the solvers (`flow_shift`): either serves both. */
function flowKeys(config: RawConfig, family: Family): ConfigPart {
  if (family !== 'flow') return {};
  const shift = configValue(config, 'shift') ?? configValue(config, 'flow_shift');
  const flowShift = configValue(config, 'flow_shift') ?? shift;
  return { ...(shift === undefined ? {} : { shift }), ...(flowShift === undefined ? {} : { flow_shift: flowShift }) };
}

function checkSupported(className: ClassName, known: SchedulerClass, config: SchedulerConfig): void {
  const refuse = (what: string, hint: string): never => {
    throw fail('unsupportedScheduler', `${className}: ${what}.`, { parameter: 'scheduler', type: 'string', hint });
  };
  if (!known.predictions.includes(config.prediction_type))
    refuse(
      `it cannot sample a model whose prediction_type is ${config.prediction_type}, only ${known.predictions.join(', ')}`,
      'Use another scheduler.',
    );
  if (config.thresholding)
    refuse('thresholding is for models of pixels and is not supported', 'Set it to false in scheduler_config.json.');
  if (config.invert_sigmas) refuse('invert_sigmas is not supported', 'Use another scheduler.');
  if (config.variance_type?.startsWith('learned') === true)
    refuse(`variance_type ${config.variance_type} is not supported`, 'Use a model that predicts no variance.');
}

/** Name + configuration → the parts of a sampler. Throws `unsupportedScheduler` or `invalidModelConfig`. */
export function designSampler({ name, config: raw, eta }: Pick<SamplerRequest, 'name' | 'config' | 'eta'>): Design {
  const family = familyOf(raw);
  const recipe = recipeFor(name, raw, family);
  const known: SchedulerClass = SCHEDULER_CLASSES[recipe.class];
  const config = completeConfig(raw, known.defaults, { ...flowKeys(raw, family), ...recipe.overrides });
  checkSupported(recipe.class, known, config);
  const options = { ...recipe.options, ...(eta === undefined ? {} : { eta }) };
  const precondition = preconditioningOf(family, config);
  return {
    name,
    className: recipe.class,
    family,
    config,
    schedule: known.schedule(options),
    rule: known.rule(config, options, precondition),
    precondition,
  };
}

/** σ/α at the start of each step and at the end, for the classes that keep no such table. */
function ratios(intervals: readonly Interval[]): readonly number[] {
  const last = intervals.at(-1)?.to;
  const levels = [...intervals.map(({ from }) => from), ...(last === undefined ? [] : [last])];
  return levels.map(({ alpha, sigma }) => sigma / alpha);
}

/** The timesteps at which the steps [begin, end) evaluate the network, when the run begins at `begin`. */
export function evaluationTimesteps(
  { intervals, rule }: Pick<Sampler, 'intervals' | 'rule'>,
  begin = 0,
  end = intervals.length,
): readonly number[] {
  const run = intervals.slice(begin, end);
  return run.flatMap((interval, i) => rule.visits(interval, i).map(({ timestep }) => timestep));
}

/** A design and its tables → the sampler. */
export function assembleSampler(design: Design, tables: Tables): Sampler {
  const { schedule, config, rule } = design;
  const intervals = schedule.intervals(config, tables);
  const timesteps = evaluationTimesteps({ intervals, rule });
  return {
    ...design,
    steps: intervals.length,
    timesteps,
    sigmas: tables.sigmas.length > 0 ? tables.sigmas : ratios(intervals),
    initNoiseSigma: schedule.initNoiseSigma(config, tables),
    stochastic: rule.stochastic,
    evaluations: timesteps.length,
    intervals,
  };
}

/**
 * The sampler that a scheduler name means for a model.
 *
 * Every key of the model's configuration counts; a key that is absent has the default of the class that the name chooses
 * (so `Euler` on a Stable Diffusion 1.5 folder is `linspace`, on SDXL `leading`).
 * Throws `unsupportedScheduler` (the name does not fit the model), `invalidModelConfig` or `invalidSteps`.
 *
 * @example createSampler({ name: 'DPM++ 2M Karras', config: JSON.parse(text), steps: 20 }).timesteps[0] // 999
 */
export function createSampler(request: SamplerRequest): Sampler {
  const design = designSampler(request);
  const { steps } = request;
  const most = design.config.num_train_timesteps;
  if (!Number.isInteger(steps) || steps < 1 || steps > most)
    throw fail('invalidSteps', `steps is ${steps}, expected an integer from 1 to ${most}.`, {
      parameter: 'steps',
      type: 'integer',
      min: 1,
      max: most,
    });
  const sampler = assembleSampler(design, design.schedule.tables(design.config, request));
  checkLevels(sampler);
  return sampler;
}

/** Each key may be in its range, and all of them together make no schedule. (σ/α may be ∞: some models begin without signal.) */
function checkLevels({ name, steps, sigmas, timesteps, initNoiseSigma }: Sampler): void {
  const level = sigmas.findIndex((sigma) => !(sigma >= 0));
  if (level < 0 && timesteps.every(Number.isFinite) && Number.isFinite(initNoiseSigma) && initNoiseSigma > 0) return;
  const what = level < 0 ? 'a timestep that is no number' : `σ/α = ${sigmas[level]} at step ${level + 1}`;
  throw fail('invalidModelConfig', `scheduler_config.json makes no schedule of ${steps} steps for ${name}: ${what}.`, {
    hint: 'Compare it with the published file of the model.',
  });
}
