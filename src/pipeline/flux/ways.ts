/** @file The forms in which a FLUX.1 request can be run, from the fastest to the most sparing: what of its weights stays, and what a step is expected to take. */
import type { ChangedNetwork, ChangedWeights } from '../../assets/weight-change.js';
import { createSampler, type Sampler } from '../../sampling/index.js';
import type { DeviceLimits, ExpectedStep } from '../fit.js';
import type { Network, NetworkOptions } from '../networks.js';
import type { Pace } from '../pace.js';
import type { Plan } from '../plan.js';
import { describeControl } from './control-job.js';
import { controlSizes, planControlled, type ControlledMemory } from './control-memory.js';
import type { FluxControl } from './control-net.js';
import { withControl } from './control-networks.js';
import { fluxWeights, onceGraphs, stepGraphs } from './graphs.js';
import { availableBytes, planFluxMemory } from './memory.js';
import type { FluxModel } from './model.js';
import { fluxNetworks, shapeOf } from './networks.js';
import { broughtAt, expectStep, planSteps, type PlannedStep } from './planned-steps.js';
import { fluxSizes } from './sizes.js';

/** One form. */
export interface FluxForm {
  /** Whether each network is freed before the next. */
  readonly frugal: boolean;
  /** Whether no block stays, however much room there is. */
  readonly streamed: boolean;
  /** Whether it is what a run begins with where nothing is known of the memory. */
  readonly begins: boolean;
  readonly networks: readonly Network[];
  readonly step: ExpectedStep;
}

/** What the forms are planned for. */
export interface FluxRoom {
  readonly limits: DeviceLimits | undefined;
  /** Bytes, where that is known. */
  readonly available: number | undefined;
  readonly pace: Pace;
  /** The request's ControlNets. */
  readonly controls: readonly FluxControl[];
}

/**
 * Everything at once; what a run plans for the room there is, with networks that stay and with networks in turn; and no blocks that stay. With networks that stay
 * no more is brought at a step than in turn, which leaves more room.
 */
export function fluxForms(
  model: FluxModel,
  plan: Plan,
  options: Pick<NetworkOptions, 'dialect' | 'dtype'>,
  changed: ReadonlyMap<ChangedNetwork, ChangedWeights>,
  { limits, available, pace, controls }: FluxRoom,
): readonly FluxForm[] {
  const { textTokens, shape } = shapeOf(model, plan);
  const weights = fluxWeights(model, changed);
  const graphs = { ...stepGraphs(weights, shape, options), ...onceGraphs(weights, shape, plan.steps, options) };
  const sizes = fluxSizes(model, graphs, { tokens: textTokens, latent: plan.latent }, weights.changed, options);
  const sampler = fluxSampler(model, plan, shape.imageTokens);
  const control = describeControl(plan, { model, controls, shape, timesteps: plan.steps, options });
  const ofControl = controlSizes(control, options.dialect);
  const planFor = (bytes: number, frugal: boolean): ControlledMemory =>
    planControlled(sizes, ofControl, (all) => planFluxMemory(all, bytes, frugal, pace.rates('image')));
  const planned = (frugal: boolean): ControlledMemory => planFor(availableBytes(available, limits, frugal), frugal);
  const form = (memory: ControlledMemory, about: Pick<FluxForm, 'frugal' | 'streamed' | 'begins'>): FluxForm => ({
    ...about,
    networks: withControl(
      fluxNetworks(model, plan, options, changed, memory, about.frugal),
      control,
      ofControl,
      memory,
      options.dialect,
    ),
    step: describeStep(planSteps(plan, sampler, sizes, memory, control), pace),
  });
  const all = form(planFor(Infinity, false), { frugal: false, streamed: false, begins: false });
  const staying = form(planned(false), { frugal: false, streamed: false, begins: true });
  const inTurn = form(planned(true), { frugal: true, streamed: false, begins: false });
  const least = form(planFor(0, true), { frugal: true, streamed: true, begins: false });
  const isSlower = available !== undefined && staying.step.streamedBytes > inTurn.step.streamedBytes;
  return [all, ...(isSlower ? [] : [staying]), inTurn, least];
}

function describeStep(steps: readonly PlannedStep[], pace: Pace): ExpectedStep {
  const expected = expectStep(steps, pace.rates('image'));
  const { blocks, brought, bytes } = broughtAt(steps);
  return {
    blocks,
    streamedBlocks: brought,
    streamedBytes: bytes,
    ...(expected === undefined ? {} : { seconds: expected.seconds }),
  };
}

/** Of a plan. */
export function fluxSampler({ scheduler }: Pick<FluxModel, 'scheduler'>, plan: Plan, imageTokens: number): Sampler {
  return createSampler({
    name: plan.scheduler,
    config: scheduler,
    steps: plan.steps,
    imageSeqLen: imageTokens,
    uniformFlowGrid: true,
  });
}
