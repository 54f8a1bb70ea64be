/** @file Layers shared by diffusion transformers (Peebles & Xie 2023, https://arxiv.org/abs/2212.09748). Names are diffusers'. */
import { reshape } from '../onnx/dialects/dialect.js';
import type { Net, Tokens } from '../onnx/net.js';
import { rmsNormHeads, splitTokens, type Modulation } from '../onnx/sequence.js';

/** Two linear layers with SiLU between: what makes an embedding of a sinusoid or of a pooled text. */
export function embeddingMlp(net: Net, x: Tokens, channels: number): Tokens {
  return net.linear('linear_2', net.activate(net.linear('linear_1', x, { channels }), 'silu'), { channels });
}

/** Feed-forward layer four times as wide, with the tanh form of GELU. */
export function geluFeedForward(net: Net, x: Tokens): Tokens {
  const h = net.activate(net.linear('0.proj', x, { channels: 4 * x.c }), 'gelu_new');
  return net.linear('2', h, { channels: x.c });
}

/** A modulation with a factor for the branch's result. */
export interface GatedModulation extends Modulation {
  readonly gate: Tokens;
}

/** What the rows of a modulation table are for, in the order of the weight's chunks. */
export type Role = 'shift' | 'scale' | 'gate';

/**
 * The vectors by which the condition steers a block, one row for each role: a linear layer `name` `[roles·C, C]` on the condition
 * (SiLU of the embedding) of `condition.n` steps. The files' scale is relative to 1; rows for `scale` have the 1 in them.
 */
export function modulationTable(net: Net, name: string, condition: Tokens, roles: readonly Role[]): Tokens {
  const { n, c } = condition;
  const chunks = net.linear(name, condition, { channels: roles.length * c });
  return net.custom('', [chunks], { kind: 'tokens', n, s: roles.length, c }, (at, [value]) => {
    if (value === undefined) throw new TypeError('a modulation is made of chunks');
    const offsets = at.g.floats(
      roles.map((role) => (role === 'scale' ? 1 : 0)),
      at.dtype,
    );
    const sum = at.g.call('Add', [reshape(at, value, [n, roles.length, c]), reshape(at, offsets, [roles.length, 1])], {
      scope: at.scope,
    });
    return reshape(at, sum, [n * roles.length, c]);
  });
}

/** The rows of a table of one step. */
export function modulationRows(net: Net, table: Tokens): readonly Tokens[] {
  return splitTokens(net, table, Array<number>(table.s).fill(1));
}

/** Consecutive rows (shift, scale, gate) from `first` on. */
export function gatedModulation(rows: readonly Tokens[], first = 0): GatedModulation {
  const [shift, scale, gate] = rows.slice(first, first + 3);
  if (shift === undefined || scale === undefined || gate === undefined)
    throw new RangeError(`a modulation has three rows; there are ${rows.length}, from ${first} on`);
  return { shift, scale, gate };
}

/** Queries, keys and values of one stream. */
export interface Projections {
  readonly q: Tokens;
  readonly k: Tokens;
  readonly v: Tokens;
}

/** Modules of {@link project}: three linear layers, and the norms of queries and keys. */
export interface ProjectionNames {
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly qNorm: string;
  readonly kNorm: string;
}

/** Queries and keys of each head are brought to length √(head size), times a weight (Henry et al. 2020; RMS norm, eps 1e-6). */
export function project(net: Net, x: Tokens, names: ProjectionNames, heads: number): Projections {
  const options = { channels: x.c };
  const norm = { eps: 1e-6, heads };
  return {
    q: rmsNormHeads(net, names.qNorm, net.linear(names.q, x, options), norm),
    k: rmsNormHeads(net, names.kNorm, net.linear(names.k, x, options), norm),
    v: net.linear(names.v, x, options),
  };
}
