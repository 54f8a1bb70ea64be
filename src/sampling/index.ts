/** @file What the pipeline uses of this folder. */
export { requireFinite } from './latent.js';
export { createGenerator, type Generator } from './noise.js';
export { guide, needsGuidance } from './guidance.js';
export { addNoise, baseSteps, firstStepOf, noisedForStep, type RefinerStart } from './partial-runs.js';
export { createSampler, evaluationTimesteps, familyOf, type Sampler, type SamplerRequest } from './sampler.js';
export { sample, type EvaluationEvent, type Place, type Run, type SampleResult } from './sample.js';
export type { Family } from './classes.js';
export type { RawConfig } from './config.js';
export type { Level } from './level.js';
