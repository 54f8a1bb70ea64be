/** @file Classifier-free guidance: mixes the outputs of the two branches. */
import { assert } from '../base/errors.js';
import { BLOCK } from './combine-loops.js';

/** Whether a scale needs both branches: up to 1 (0 counts as 1) only the conditional one is run. */
export const needsGuidance = (scale: number): boolean => scale > 1;

/** The elements [begin, end) of `uncond + s·(cond − uncond)`; `s` is a float32. */
function mixRange(out: Float32Array, begin: number, end: number, uncond: Float32Array, cond: Float32Array, s: number) {
  const f32 = Math.fround;
  for (let i = begin; i < end; i++) {
    const u = uncond[i] ?? 0;
    out[i] = u + f32(s * f32((cond[i] ?? 0) - u));
  }
}

/**
 * `uncond + s·(cond − uncond)` (Ho & Salimans 2022, eq. 6, in diffusers' arithmetic: three float32 roundings).
 *
 * @param uncond output of the unconditional (or negative) branch
 * @param cond output of the conditional branch, of the same length
 * @param scale CFGScale; 1 gives `cond` back to rounding
 */
export function guide(uncond: Float32Array, cond: Float32Array, scale: number): Float32Array {
  const n = cond.length;
  assert(uncond.length === n, `guidance mixes outputs of ${uncond.length} and ${n} values`);
  const s = Math.fround(scale);
  const out = new Float32Array(n);
  for (let begin = 0; begin < n; begin += BLOCK) mixRange(out, begin, Math.min(n, begin + BLOCK), uncond, cond, s);
  return out;
}
