/** @file What each step of a FLUX.1 plan runs: the transformer's blocks, and before them those of the ControlNets that act in it. Pure. */
import { flopsOf } from '../../onnx/cost.js';
import type { Sampler } from '../../sampling/index.js';
import { actsAt } from '../control-plan.js';
import { stepEnds } from '../observer.js';
import type { Plan } from '../plan.js';
import { deviceBytes } from '../weight-bytes.js';
import type { ControlJob } from './control-job.js';
import type { ControlledMemory } from './control-memory.js';
import type { ControlGraphs } from './control-sessions.js';
import { stepBlocks, type BlockSizes } from './memory.js';
import { broughtBytes, broughtCount, predictStep, type StepBlocks, type StepTime } from './step-time.js';
import type { Rates } from '../pace.js';

/** One step of a schedule. */
export interface PlannedStep {
  /** What is asked of it in an evaluation, in this order. */
  readonly blocks: StepBlocks;
  /** Rules of second order ask more than once. */
  readonly evaluations: number;
}

/**
 * @param control the nets, each as often as the request names it, in their windows; both passes of true guidance are given the same residuals
 */
export function planSteps(
  { steps, guided }: Pick<Plan, 'steps' | 'guided'>,
  sampler: Sampler,
  sizes: BlockSizes,
  memory: ControlledMemory,
  control: Pick<ControlJob, 'entries' | 'graphs'> | undefined,
): readonly PlannedStep[] {
  const own = stepBlocks(sizes, memory);
  const passes = guided ? [...own, ...own] : own;
  const nets = new Map([...(control?.graphs ?? [])].map(([net, graphs]) => [net, netBlocks(graphs, memory.control)]));
  const ends = stepEnds(sampler, [{ begin: undefined, end: undefined }]);
  return Array.from({ length: steps }, (_, step) => {
    const acting = (control?.entries ?? []).filter(({ plan }) => actsAt(plan, step));
    const blocks = [...acting.flatMap(({ net }) => nets.get(net) ?? []), ...passes];
    return { blocks, evaluations: (ends[step] ?? 0) - (ends[step - 1] ?? 0) };
  });
}

/** Each with what makes its residual, if it has one. */
function netBlocks(graphs: ControlGraphs, resident: boolean): StepBlocks {
  return (['double', 'single'] as const).flatMap((kind) => {
    const { graph, prefixes } = graphs[kind];
    const residual = graphs.residual[kind];
    const count = prefixes.length;
    if (count === 0) return [];
    const flops = flopsOf(graph) + (residual.prefixes.length / count) * flopsOf(residual.graph);
    return [{ count, bytes: deviceBytes(graph), flops, resident: resident ? count : 0 }];
  });
}

/** What a step takes in the mean of all, at these speeds; nothing where one is not known that it depends on. */
export function expectStep(steps: readonly PlannedStep[], rates: Rates): StepTime | undefined {
  let [seconds, computing] = [0, 0];
  for (const { blocks, evaluations } of steps) {
    const one = predictStep(blocks, rates);
    if (one === undefined) return undefined;
    seconds += evaluations * one.seconds;
    computing += evaluations * one.computing;
  }
  return { seconds: seconds / steps.length, computing: computing / steps.length };
}

/** Weights that are brought while pictures are made. */
export interface Brought {
  /** Blocks of all networks. */
  readonly blocks: number;
  /** Those of them whose weights are brought whenever they are run. */
  readonly brought: number;
  /** Bytes that are brought at a step, in the mean of all. */
  readonly bytes: number;
}

export function broughtAt(steps: readonly PlannedStep[]): Brought {
  const kinds = [...new Set(steps.flatMap(({ blocks }) => blocks))];
  const bytes = steps.reduce((sum, { blocks, evaluations }) => sum + evaluations * broughtBytes(blocks), 0);
  return {
    blocks: kinds.reduce((sum, { count }) => sum + count, 0),
    brought: kinds.reduce((sum, kind) => sum + broughtCount(kind), 0),
    bytes: bytes / steps.length,
  };
}
