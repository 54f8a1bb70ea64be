/** @file What is told while a picture is denoised: steps done, previews, and to a trace the latents and each draw of noise. */
import { latentsToRgba } from '../image/preview.js';
import { LATENT_RGB, type LatentRgb, type ModelFamily } from '../models/families.js';
import type { ModelCard } from '../models/card.js';
import { createGenerator, type Generator, type Sampler } from '../sampling/index.js';
import type { WireEvent } from './events.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import type { Trace } from './trace.js';

/** One picture of a plan. */
export interface OnePicture {
  readonly plan: Plan;
  readonly seed: bigint;
  readonly index: number;
  readonly taskUUID: string;
}

/** What an evaluation of the network tells. */
export interface Observed {
  /** Counted through all stages. */
  readonly evaluation: number;
  readonly step: number;
  /** The clean latents it implies, `[C,h,w]`. */
  readonly denoised: () => Float32Array;
}

/** Turns evaluations into progress and previews. */
export function createObserver(
  /** Evaluations that are done when each step ends. */
  ends: readonly number[],
  { plan, index, taskUUID }: OnePicture,
  colours: LatentRgb | undefined,
  { progress, onEvent }: { readonly progress: Progress; readonly onEvent: (event: WireEvent) => void },
): (event: Observed) => void {
  const { height, width } = plan.latent;
  return ({ evaluation, step, denoised }) => {
    const end = ends.indexOf(evaluation + 1);
    if (end >= 0) progress.step(end + 1, plan.steps);
    if (colours === undefined) return;
    const rgba = latentsToRgba(denoised(), width, height, colours);
    onEvent({ kind: 'preview', taskUUID, image: index, step: step + 1, of: plan.steps, width, height, rgba });
  };
}

/** Evaluations that are done when each step ends: rules of second order evaluate twice, PLMS once more where a run begins. */
export function stepEnds(
  { intervals, rule }: Sampler,
  stages: readonly { readonly begin: number | undefined; readonly end: number | undefined }[],
): readonly number[] {
  let evaluations = 0;
  return stages.flatMap(({ begin, end }) =>
    intervals.slice(begin, end).map((interval, i) => (evaluations += rule.visits(interval, i).length)),
  );
}

/** The card's preview colours, else its family's; none where the latents are of another kind. */
export function previewColours(
  card: ModelCard | undefined,
  family: ModelFamily,
  channels: number,
): LatentRgb | undefined {
  const colours: LatentRgb = card?.latentRgb ?? LATENT_RGB[family];
  return colours.factors.length === channels ? colours : undefined;
}

/** The picture's one stream of noise; each draw is shown to the trace. */
export function tracedGenerator(seed: bigint, trace: Trace | undefined): Generator {
  const generator = createGenerator(seed);
  if (trace === undefined) return generator;
  let draws = 0;
  return {
    ...generator,
    randn(n) {
      const values = generator.randn(n);
      trace(`noise.${draws++}`, values);
      return values;
    },
  };
}
