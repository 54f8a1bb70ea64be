/** @file Words of the graph language for transformers over sequences: RMS norms, rotary positions, modulation, casts, parts of sequences. */
import { reshape } from './dialects/dialect.js';
import type { CustomSite, Net, Tokens } from './net.js';
import { layerNorm, rmsNorm as writeRmsNorm } from './norms.js';
import { ELEMENT_TYPE_CODE, type Value } from './types.js';

/** RMS norm over the whole width, with the weight `name` `[C]`. */
export function rmsNorm(net: Net, name: string, x: Tokens, options: { readonly eps: number }): Tokens {
  return net.norm(name, x, [], (at, parts) =>
    writeRmsNorm(at, parts, at.weight('weight', [x.c], 'vector'), options.eps),
  );
}

/** RMS norm of each head by itself; one weight `name` `[C/heads]` for all of them. */
export function rmsNormHeads(
  net: Net,
  name: string,
  x: Tokens,
  options: { readonly eps: number; readonly heads: number },
): Tokens {
  const size = x.c / options.heads;
  return net.custom(name, [x], x, (at, [value]) => {
    const heads = reshape(at, required(value), [x.n * x.s * options.heads, size]);
    const { y } = writeRmsNorm(at, { value: heads }, at.weight('weight', [size], 'vector'), options.eps);
    return reshape(at, y, [x.n * x.s, x.c]);
  });
}

/** What an adaptive norm does after normalising: times `scale`, plus `shift`. Each `[1, 1, C]`. */
export interface Modulation {
  readonly scale: Tokens;
  readonly shift: Tokens;
}

/**
 * Layer norm without weights of its own, then ·scale + shift (adaLN, Peebles & Xie 2023, §3.2): scale and shift are the kernel's gamma and
 * beta, so the modulation costs nothing. One picture, since gamma and beta are the same for every row.
 */
export function modulatedNorm(net: Net, x: Tokens, by: Modulation, options: { readonly eps: number }): Tokens {
  return net.norm('', x, [by.scale, by.shift], (at, parts, [scale, shift]) => {
    const affine = { gamma: vectorOf(at, scale), beta: vectorOf(at, shift) };
    return layerNorm(at, parts, affine, options.eps);
  });
}

/** Every row of `x` times `gate` `[1, 1, C]`, channel by channel. */
export function gate(net: Net, x: Tokens, by: Tokens): Tokens {
  return net.custom('', [x, by], x, ({ g, scope }, values) => g.call('Mul', values, { scope }));
}

/** Product of two features of one size, number by number. */
export function multiply(net: Net, a: Tokens, b: Tokens): Tokens {
  return net.custom('', [a, b], a, ({ g, scope }, values) => g.call('Mul', values, { scope }));
}

/** Cosines and sines of the angles by which the pairs of a head are turned. */
export interface RotaryTable {
  readonly cos: Tokens;
  readonly sin: Tokens;
}

/** Declares a table for `s` tokens and heads of `size` channels: inputs `cos` and `sin`, each `[s, size/2]`. */
export function rotaryTable(net: Net, names: { cos: string; sin: string }, s: number, size: number): RotaryTable {
  const half = { n: 1, s, c: size / 2 };
  return { cos: net.tokens(names.cos, half), sin: net.tokens(names.sin, half) };
}

/** Turns each pair of channels (2i, 2i+1) of each head by its token's angle i (Su et al. 2021, eq. 34). */
export function rotate(net: Net, x: Tokens, table: RotaryTable, heads: number): Tokens {
  return net.custom('', [x, table.cos, table.sin], x, (at, [value, cos, sin]) => {
    const turned = at.g.call(
      'RotaryEmbedding',
      [reshape(at, required(value), [x.n, x.s, x.c]), at.g.ints([0]), cos, sin],
      {
        domain: 'com.microsoft',
        scope: at.scope,
        attributes: { interleaved: 1, num_heads: heads },
      },
    );
    return reshape(at, turned, [x.n * x.s, x.c]);
  });
}

/** A sequence of one picture cut into parts of these lengths. All of them must be read: the CPU's Split leaves none out. */
export function splitTokens(net: Net, x: Tokens, lengths: readonly number[]): readonly Tokens[] {
  const parts = lengths.map((s) => ({ ...x, s }));
  return net.customAll('', [x], parts, ({ g, scope }, [value]) =>
    g.callAll('Split', [value, g.ints(lengths)], { scope, attributes: { axis: 0 } }),
  );
}

/** A sequence of one picture cut behind its first `length` tokens. */
export function splitAt(net: Net, x: Tokens, length: number): readonly [Tokens, Tokens] {
  const [head, tail] = splitTokens(net, x, [length, x.s - length]);
  if (head === undefined || tail === undefined) throw new TypeError('a sequence is split in two');
  return [head, tail];
}

/** The channels of `b` beside those of `a`, token by token. */
export function joinChannels(net: Net, a: Tokens, b: Tokens): Tokens {
  return net.custom('', [a, b], { ...a, c: a.c + b.c }, ({ g, scope }, values) =>
    g.call('Concat', values, { scope, attributes: { axis: 1 } }),
  );
}

/** The sequence of one picture behind `before` rows of zeros. */
export function padTokens(net: Net, x: Tokens, before: number): Tokens {
  return net.custom('', [x], { ...x, s: before + x.s }, ({ g, scope }, [value]) =>
    g.call('Pad', [value, g.ints([before, 0, 0, 0])], { scope }),
  );
}

/** Numbers of a feature in the net's own format. */
export function cast(net: Net, x: Tokens): Tokens {
  return net.custom('', [x], x, ({ g, scope, dtype }, [value]) => {
    const from = required(value);
    return from.dtype === dtype
      ? from
      : g.call('Cast', [from], { scope, attributes: { to: ELEMENT_TYPE_CODE[dtype] } });
  });
}

/** The largest float16. */
const LARGEST = 65504;

/** In float16, infinities become the largest numbers; in float32 there are none to fear. */
export function finite(net: Net, x: Tokens): Tokens {
  return net.custom('', [x], x, ({ g, scope, dtype }, [value]) =>
    dtype === 'float16'
      ? g.call('Clip', [value, g.floats([-LARGEST], dtype), g.floats([LARGEST], dtype)], { scope })
      : required(value),
  );
}

/** `[1, C]` → `[C]`. */
function vectorOf(at: CustomSite, value: Value | undefined): Value {
  const row = required(value);
  return reshape(at, row, [row.shape[1] ?? 0]);
}

function required(value: Value | undefined): Value {
  if (value === undefined) throw new TypeError('an operator of one input was written without it');
  return value;
}
