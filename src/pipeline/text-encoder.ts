/** @file Prompts → what cross-attention reads: token ids in chunks of 77, embeddings, hidden states. */
import { decodeFloats } from '../assets/floats.js';
import type { WeightFile } from '../assets/weights.js';
import { fail } from '../base/errors.js';
import { CLIP_IO, TOKEN_TABLE, clipTextGraph } from '../graphs/clip-text.js';
import type { Runtime } from '../runtime/runtime.js';
import { chunkPrompts } from '../text/chunks.js';
import type { LoadedModel } from './model.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import type { Trace } from './trace.js';

/** Hidden states of both sides, `[S, D]` each with `S` = 77 per chunk. */
export interface TextStates {
  readonly cond: Float32Array;
  /** The same array as `cond` when both prompts say the same: guidance then changes nothing. */
  readonly uncond: Float32Array;
  readonly tokens: number;
}

/** Encodes the plan's prompts; the negative prompt never skips layers, as in diffusers. */
export async function encodePrompts(
  runtime: Runtime,
  model: LoadedModel,
  plan: Plan,
  run: { readonly progress: Progress; readonly signal?: AbortSignal | undefined; readonly trace?: Trace | undefined },
): Promise<TextStates> {
  const { tokenizer, textEncoder } = model;
  const chunks = chunkPrompts(tokenizer, plan.positivePrompt, plan.guided ? plan.negativePrompt : undefined);
  run.trace?.('base.ids_1.cond', Int32Array.from(chunks.positive.flatMap((ids) => [...ids])));
  if (plan.guided) run.trace?.('base.ids_1.uncond', Int32Array.from(chunks.negative.flatMap((ids) => [...ids])));

  const length = tokenizer.length;
  const clipSkips = [...new Set([0, plan.clipSkip])];
  const network = await textEncoder.load(
    `${length}/${clipSkips.join()}`,
    () =>
      clipTextGraph(
        textEncoder.config,
        { batch: 1, tokens: length, clipSkips },
        { dialect: runtime.dialect, dtype: runtime.info.dtype },
      ),
    run.progress,
    run.signal,
  );

  const embed = createEmbedder(textEncoder.file, textEncoder.config.vocabSize, textEncoder.config.hiddenSize);
  const encode = async (ids: Int32Array, clipSkip: number): Promise<Float32Array> => {
    const states = await network.run({ [CLIP_IO.embeddings]: await embed(ids, run.signal) }, run.signal);
    return states[CLIP_IO.hidden(clipSkip)] ?? new Float32Array();
  };
  const encodeAll = async (side: readonly Int32Array[], clipSkip: number): Promise<Float32Array> => {
    const states: Float32Array[] = [];
    for (const ids of side) states.push(await encode(ids, clipSkip));
    return join(states);
  };

  return run.progress.stage('text', async () => {
    const cond = await encodeAll(chunks.positive, plan.clipSkip);
    const alike = plan.clipSkip === 0 && sameIds(chunks.positive, chunks.negative);
    const uncond = alike || !plan.guided ? cond : await encodeAll(chunks.negative, 0);
    run.trace?.('base.prompt_embeds.cond', cond);
    if (plan.guided) run.trace?.('base.prompt_embeds.uncond', uncond);
    return { cond, uncond, tokens: length * chunks.positive.length };
  });
}

/** Looks up rows of the token table in the file itself: a prompt needs some dozens of its many thousands. */
function createEmbedder(
  file: WeightFile,
  vocabSize: number,
  width: number,
): (ids: Int32Array, signal?: AbortSignal) => Promise<Float32Array> {
  const rows = new Map<number, Promise<Float32Array>>();
  const table = file.find(TOKEN_TABLE);
  if (table === undefined) throw fail('missingWeight', `${file.name} has no token table "${TOKEN_TABLE}".`);
  if (table.shape.length !== 2 || table.shape[0] !== vocabSize || table.shape[1] !== width) {
    throw fail(
      'invalidModelFile',
      `${file.name}: the token table is [${table.shape.join(', ')}], the config asks for [${vocabSize}, ${width}].`,
    );
  }
  const rowBytes = (table.end - table.start) / vocabSize;
  const readRow = async (id: number, signal?: AbortSignal): Promise<Float32Array> => {
    if (id >= vocabSize)
      throw fail(
        'invalidModelConfig',
        `${file.name}: the tokenizer makes token ${id}, the text encoder knows ${vocabSize}.`,
      );
    const bytes = await table.source.read(table.start + id * rowBytes, table.start + (id + 1) * rowBytes, signal);
    return decodeFloats(bytes, table.dtype, 'float32', `${file.name}: token ${id}`);
  };
  return async (ids, signal) => {
    for (const id of ids) if (!rows.has(id)) rows.set(id, readRow(id, signal));
    const out = new Float32Array(ids.length * width);
    await Promise.all([...ids].map(async (id, i) => out.set((await rows.get(id)) ?? [], i * width)));
    return out;
  };
}

function sameIds(a: readonly Int32Array[], b: readonly Int32Array[]): boolean {
  return a.length === b.length && a.every((ids, i) => ids.join() === b[i]?.join());
}

function join(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
