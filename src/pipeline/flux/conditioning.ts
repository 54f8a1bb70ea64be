/** @file The plan's prompts → what FLUX.1 is conditioned on: CLIP's pooled text, and T5's states, padding included. */
import { requireFinite } from '../../sampling/index.js';
import { promptText, toRow } from '../../text/chunks.js';
import { toT5Row } from '../../text/t5-tokenizer.js';
import type { Compute, StageRun } from '../conditioning.js';
import type { Plan } from '../plan.js';
import { loadEncoder, pooledRow } from '../text-encoder.js';
import type { FluxModel } from './model.js';
import { encodeWithT5 } from './t5-encoder.js';

/** One prompt, encoded. */
export interface FluxPrompt {
  /** `[P]` */
  readonly pooled: Float32Array;
  /** `[L, D]` */
  readonly states: Float32Array;
}

export interface FluxConditioning {
  readonly cond: FluxPrompt;
  /** Of the negative prompt, with true guidance. */
  readonly uncond: FluxPrompt | undefined;
}

/** How long what encodes the text stays on the device. */
export interface TextMemory {
  /** Blocks of T5 whose weights stay while it runs. */
  readonly t5Blocks: number;
  /** Whether both encoders stay for the next prompt. */
  readonly keep: boolean;
}

/** @throws notFinite, and what reading and running the encoders throws */
export async function encodeFluxPrompts(
  compute: Compute,
  { clip, t5, name }: FluxModel,
  plan: Plan,
  memory: TextMemory,
  run: StageRun,
): Promise<FluxConditioning> {
  const prompts = [plan.positivePrompt, ...(plan.guided ? [plan.negativePrompt] : [])].map(promptText);
  const length = plan.flux?.textTokens ?? t5.tokenizer.length;
  const t5Rows = prompts.map((text) => toT5Row(t5.tokenizer.encode(text), t5.tokenizer, length).ids);
  const clipRows = prompts.map((text) =>
    toRow(clip.tokenizer.encode(text).slice(0, clip.tokenizer.length - 2), clip.tokenizer),
  );
  prompts.forEach((_, i) => {
    run.trace?.(`${SIDES[i]}clip.input_ids`, clipRows[i] ?? new Int32Array());
    run.trace?.(`${SIDES[i]}t5.input_ids`, t5Rows[i] ?? new Int32Array());
  });
  const pooled = await poolWithClip(compute, clip, clipRows, run);
  if (!memory.keep) await clip.dispose();
  const states = await encodeWithT5(compute, t5, t5Rows, memory.t5Blocks, run);
  if (!memory.keep) await t5.dispose();
  const made = prompts.map((_, i): FluxPrompt => {
    const prompt = { pooled: pooled[i] ?? new Float32Array(), states: states[i] ?? new Float32Array() };
    requireFinite(prompt.pooled, `Pooled text of ${name}`);
    requireFinite(prompt.states, `Text states of ${name}`);
    run.trace?.(`${SIDES[i]}clip.pooled`, prompt.pooled);
    run.trace?.(`${SIDES[i]}t5.hidden`, prompt.states);
    return prompt;
  });
  const [cond, uncond] = made;
  return { cond: cond ?? { pooled: new Float32Array(), states: new Float32Array() }, uncond };
}

/** Of intermediates: the prompt's, the negative prompt's. */
const SIDES = ['', 'negative.'];

/** The last state of the end token, normed, without a projection. */
async function poolWithClip(
  compute: Compute,
  clip: FluxModel['clip'],
  rows: readonly Int32Array[],
  run: StageRun,
): Promise<readonly Float32Array[]> {
  const encode = await loadEncoder(compute, clip, { penultimate: false, clipSkips: [0], masked: false }, run);
  return run.progress.stage('text', async () => {
    const { hiddenSize } = clip.config;
    const made: Float32Array[] = [];
    for (const ids of rows) {
      const at = pooledRow(clip.config, ids) * hiddenSize;
      made.push((await encode(ids)).states(0).slice(at, at + hiddenSize));
    }
    return made;
  });
}
