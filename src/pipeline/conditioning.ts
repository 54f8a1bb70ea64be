/** @file The plan's prompts → everything that a UNet is conditioned on, for both branches of guidance. */
import type { FloatType } from '../base/dtype.js';
import { concatFloats } from '../base/arrays.js';
import { fail } from '../base/errors.js';
import { timestepSinusoid } from '../graphs/unet.js';
import type { Runtime } from '../runtime/runtime.js';
import { requireFinite } from '../sampling/index.js';
import { withMarks, type AddedTokens } from '../text/added-tokens.js';
import { combine, type CallResult, type SideStates } from '../text/combine.js';
import { promptIds, sidesAlike, type PromptPlan } from '../text/prompt-plan.js';
import { markTriggers, withWords, type Triggered } from '../text/triggers.js';
import { planPrompt } from '../text/weighted.js';
import type { LoadedModel, TextEncoder } from './model.js';
import type { Pace } from './pace.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import { loadEncoder } from './text-encoder.js';
import type { Trace } from './trace.js';

/** What one branch of guidance sees. */
export interface Branch {
  /** Text states `[S, D]`. */
  readonly text: Float32Array;
  /** SDXL: pooled text and sinusoids of the time ids, `[P + ids·T]`. */
  readonly added: Float32Array | undefined;
}

export interface Conditioning {
  readonly cond: Branch;
  /** The same object as `cond` where guidance is off, or both sides say the same and it would change nothing. */
  readonly uncond: Branch;
  readonly textTokens: number;
  /** LCM: sinusoid of the guidance scale, `[T]`. */
  readonly guidance: Float32Array | undefined;
}

/** Which network of a run: intermediates are named after it. */
export type Role = 'base' | 'refiner';

/** Where networks run, and in which number format. */
export interface Compute {
  readonly runtime: Runtime;
  readonly dtype: FloatType;
}

export interface StageRun {
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  readonly trace?: Trace | undefined;
  /** Measures blocks at work. */
  readonly pace?: Pace | undefined;
}

/** The part of a plan that conditions. */
export type PromptsOfPlan = Pick<
  Plan,
  'positivePrompt' | 'negativePrompt' | 'guided' | 'promptWeighting' | 'clipSkip' | 'width' | 'height' | 'CFGScale'
>;

/** An embedding (textual inversion) that a task asks for: its words, and vectors that fit the model. */
export interface PromptEmbedding extends Triggered {
  /** Vectors per encoder. */
  readonly count: number;
  /** By slot of the text encoder: `[count, width]`, not yet times the weight. */
  readonly vectors: ReadonlyMap<TextEncoder['slot'], Float32Array>;
}

/**
 * Encodes both prompts with every text encoder of the model. The negative prompt never skips layers, as in diffusers.
 * @param embeddings in the request's order, without those of weight 0
 * @throws conflictParameters, invalidPositivePrompt, invalidNegativePrompt, notFinite, and what reading the encoders throws
 */
export async function encodeConditioning(
  compute: Compute,
  model: LoadedModel,
  plan: PromptsOfPlan,
  role: Role,
  run: StageRun,
  embeddings: readonly PromptEmbedding[] = [],
): Promise<Conditioning> {
  const prompt = planMarked(model, plan, embeddings);
  traceIds(model, prompt, role, run);
  const results = await runCalls(compute, model, plan, { prompt, embeddings }, run);
  const { positive, negative, tokens } = combine(prompt, results);
  const cond = toBranch(model, plan, positive, { role, side: 'cond', run });
  const uncond = plan.guided
    ? toBranch(model, plan, negative ?? toZeros(positive), { role, side: 'uncond', run })
    : cond;
  // Equal sides: guidance changes nothing, one branch is enough.
  const alike = plan.clipSkip === 0 && sidesAlike(prompt);
  const guidance = guidanceEmbedding(model, plan);
  if (guidance !== undefined) run.trace?.(`${role}.timestep_cond`, guidance);
  return { cond, uncond: alike && cond.added === undefined ? cond : uncond, textTokens: tokens, guidance };
}

/** The prompts with embeddings in the place of their words. */
function planMarked(model: LoadedModel, plan: PromptsOfPlan, embeddings: readonly PromptEmbedding[]): PromptPlan {
  const prompts = markTriggers({ positive: plan.positivePrompt, negative: plan.negativePrompt }, embeddings);
  const { positive, negative } = prompts;
  const counts = embeddings.map(({ count }) => count);
  // SDXL: an absent negative prompt is zeros, not the encoded empty text.
  const zeros = model.forceZerosForEmptyPrompt && negative === undefined;
  return withWords(prompts, embeddings, () =>
    planPrompt({
      positive: positive.text,
      negative: plan.guided && !zeros ? (negative?.text ?? '') : undefined,
      suffixes: { positive: positive.suffix, negative: negative?.suffix },
      weighting: plan.promptWeighting,
      tokenizers: model.encoders.map(({ tokenizer }) => withMarks(tokenizer, prompts, counts)),
      pooled: model.architecture !== 'sd',
    }),
  );
}

/** The embeddings' tokens for one encoder, their vectors times |weight|; ids as {@link withMarks} gives them. */
function addedTokens(
  { slot, tokenizer }: TextEncoder,
  embeddings: readonly PromptEmbedding[],
): AddedTokens | undefined {
  if (embeddings.length === 0) return undefined;
  const rows = embeddings.map(({ vectors, weight }) =>
    (vectors.get(slot) ?? new Float32Array()).map((value) => value * Math.abs(weight)),
  );
  return { first: tokenizer.size, rows: concatFloats(rows) };
}

/** Runs every call of the prompt's plan, encoder by encoder. */
async function runCalls(
  compute: Compute,
  model: LoadedModel,
  plan: PromptsOfPlan,
  { prompt, embeddings }: { readonly prompt: PromptPlan; readonly embeddings: readonly PromptEmbedding[] },
  run: StageRun,
): Promise<readonly CallResult[]> {
  const results: CallResult[] = [];
  for (const [index, encoder] of model.encoders.entries()) {
    const own = prompt.calls.flatMap((call, at) => (call.encoder === index ? [{ ...call, at }] : []));
    const options = {
      penultimate: model.architecture !== 'sd',
      clipSkips: [...new Set([0, plan.clipSkip])],
      masked: own.some(({ mask }) => mask !== undefined),
      added: addedTokens(encoder, embeddings),
    };
    const encode = await loadEncoder(compute, encoder, options, run);
    await run.progress.stage('text', async () => {
      for (const { ids, mask, at } of own) {
        const { states, pooled } = await encode(ids, mask);
        results[at] = { positive: states(plan.clipSkip), negative: states(0), pooled };
      }
    });
  }
  return results;
}

function traceIds({ encoders }: LoadedModel, prompt: PromptPlan, role: Role, { trace }: StageRun): void {
  if (trace === undefined) return;
  encoders.forEach(({ slot }, i) => {
    trace(`${role}.ids_${slot}.cond`, promptIds(prompt, prompt.positive, i));
    if (prompt.negative !== undefined) trace(`${role}.ids_${slot}.uncond`, promptIds(prompt, prompt.negative, i));
  });
}

function toBranch(
  model: LoadedModel,
  plan: PromptsOfPlan,
  { states, pooled = new Float32Array() }: SideStates,
  { role, side, run }: { readonly role: Role; readonly side: 'cond' | 'uncond'; readonly run: StageRun },
): Branch {
  requireFinite(states, `Text states of ${model.name}`);
  requireFinite(pooled, `Pooled text of ${model.name}`);
  run.trace?.(`${role}.prompt_embeds.${side}`, states);
  const { addition } = model.unet.config;
  if (addition === undefined) return { text: states, added: undefined };
  const timeIds = timeIdsOf(model, plan, side);
  run.trace?.(`${role}.pooled.${side}`, pooled);
  run.trace?.(`${role}.time_ids.${side}`, timeIds);
  const added = concatFloats([
    pooled,
    ...[...timeIds].map((id) => timestepSinusoid(id, addition.timeDim, model.unet.config)),
  ]);
  if (added.length !== addition.inputDim) {
    throw fail(
      'invalidModelConfig',
      `${model.name}/unet/config.json: projection_class_embeddings_input_dim is ${addition.inputDim}; pooled text (${pooled.length}) and ${timeIds.length} time ids of ${addition.timeDim} make ${added.length}.`,
    );
  }
  return { text: states, added };
}

/** What the aesthetic score of refiner training data was asked to be: of the picture, and of what it should not be. */
const AESTHETIC_SCORE = { cond: 6, uncond: 2.5 } as const;

/** SDXL's size conditions (Podell et al. 2023, §2.2): original size, crop corner, then target size, or for the refiner a score. */
function timeIdsOf(model: LoadedModel, { width, height }: PromptsOfPlan, side: 'cond' | 'uncond'): Float32Array {
  const end = model.requiresAestheticsScore ? [AESTHETIC_SCORE[side]] : [height, width];
  return Float32Array.from([height, width, 0, 0, ...end]);
}

/** Sinusoid of the guidance scale (Meng et al. 2023; diffusers `get_guidance_scale_embedding`): of (scale − 1)·1000. */
function guidanceEmbedding({ unet }: LoadedModel, plan: PromptsOfPlan): Float32Array | undefined {
  const dim = unet.config.timeCondProjDim;
  if (dim === undefined) return undefined;
  return timestepSinusoid((Math.max(plan.CFGScale, 1) - 1) * 1000, dim, { flipSinToCos: false, freqShift: 1 });
}

function toZeros({ states, pooled }: SideStates): SideStates {
  return { states: new Float32Array(states.length), ...(pooled && { pooled: new Float32Array(pooled.length) }) };
}
