/** @file One text encoder at work: rows of token ids → hidden states, and for slot 2 the pooled embedding. */
import { CLIP_IO, clipTextGraph, type ClipTextShape, type HiddenState } from '../graphs/clip-text.js';
import type { ClipTextConfig } from '../models/configs/clip-text.js';
import type { AddedTokens } from '../text/added-tokens.js';
import type { Compute } from './conditioning.js';
import type { TextEncoder } from './model.js';
import type { Progress } from './progress.js';
import { withAddedRows } from './token-table.js';

export interface Encoded {
  /** Hidden states `[S, D]`, skipping the asked-for number of layers more than the model itself does. */
  readonly states: (clipSkip: number) => Float32Array;
  /** `[P]`; only of encoders with projection. */
  readonly pooled: Float32Array | undefined;
}

/** Encodes one row of ids; `mask` 0 hides a token from the attention of all. */
export type EncodeRow = (ids: Int32Array, mask?: Uint8Array) => Promise<Encoded>;

export interface EncoderOptions {
  /** SDXL reads the penultimate layer as it is; SD the last one after the final norm. */
  readonly penultimate: boolean;
  /** Which states will be asked for. */
  readonly clipSkips: readonly number[];
  /** Whether rows come with masks. */
  readonly masked: boolean;
  /** Tokens of embeddings. */
  readonly added?: AddedTokens | undefined;
}

export async function loadEncoder(
  { runtime, dtype }: Compute,
  encoder: TextEncoder,
  { penultimate, clipSkips, masked, added }: EncoderOptions,
  run: { readonly progress: Progress; readonly signal?: AbortSignal | undefined },
): Promise<EncodeRow> {
  const { config, tokenizer, slot } = encoder;
  const stateOf = (clipSkip: number): HiddenState =>
    penultimate ? { skip: clipSkip + 1, norm: false } : { skip: clipSkip, norm: true };
  const shape: ClipTextShape = {
    tokens: tokenizer.length,
    hidden: clipSkips.map(stateOf),
    projected: slot === 2,
    masked,
  };
  const options = { dialect: runtime.dialect, dtype };
  const network = await encoder.load(
    JSON.stringify({ ...shape, dtype }),
    () => clipTextGraph(config, shape, options),
    run,
  );
  const embed = added === undefined ? encoder.embed : withAddedRows(encoder.embed, config.hiddenSize, added);
  return async (ids, mask) => {
    const bias = masked ? { [CLIP_IO.scoreBias]: scoreBias(ids.length, mask) } : {};
    const outputs = await network.run({ [CLIP_IO.embeddings]: await embed(ids, run.signal), ...bias }, run.signal);
    const projected = outputs[CLIP_IO.projected];
    const row = pooledRow(config, ids) * config.projectionDim;
    return {
      states: (clipSkip) => outputs[CLIP_IO.hidden(stateOf(clipSkip))] ?? new Float32Array(),
      pooled: projected?.slice(row, row + config.projectionDim),
    };
  };
}

/** Vanishes in softmax, and float16 can hold it. */
const HIDDEN = -30000;

/** `[1, 1, S, S]`: token i sees tokens 0…i, but none that the mask hides. */
function scoreBias(length: number, mask: Uint8Array | undefined): Float32Array {
  return Float32Array.from({ length: length * length }, (_, at) => {
    const [row, column] = [Math.floor(at / length), at % length];
    return column > row || mask?.[column] === 0 ? HIDDEN : 0;
  });
}

/** The row that stands for the text: of the end token; with the legacy `eos_token_id` 2, of the largest id. Both the first such. */
export function pooledRow({ eosTokenId }: ClipTextConfig, ids: Int32Array): number {
  return Math.max(0, eosTokenId === 2 ? ids.indexOf(Math.max(...ids)) : ids.indexOf(eosTokenId));
}
