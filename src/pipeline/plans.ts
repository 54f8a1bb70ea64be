/** @file Task + model → Plan, for every family. */
import type { ImageInferenceTask } from '../request/task.js';
import { makeFluxPlan, type PlannedFlux } from './flux/plan.js';
import { makePlan, type Plan, type PlannedModel } from './plan.js';

/** @throws what the planner of the model's family throws */
export function planTask(task: ImageInferenceTask, model: PlannedModel | PlannedFlux, randomSeed: () => bigint): Plan {
  return model.architecture === 'flux' ? makeFluxPlan(task, model, randomSeed) : makePlan(task, model, randomSeed);
}
