/** @file Which changes each weight is to have, and bringing the arrays on the device up to them. */
import type { AppliedChange } from '../assets/weight-change.js';
import type { WeightFile } from '../assets/weights.js';
import { fail, throwIfAborted } from '../base/errors.js';
import { readChanges } from './change-factors.js';
import type { Lock } from './lock.js';
import { floatsOnly } from './device-array.js';
import {
  createFactorArrays,
  createMerger,
  readyChange,
  type FactorArrays,
  type Merger,
  type ReadyChange,
} from './merge.js';
import type { SessionContext } from './session.js';
import { restore, type StoredWeight } from './stored-weights.js';

/** Changes by the tensor that they change, in the order in which they were asked for. */
export type Changes = ReadonlyMap<string, readonly AppliedChange[]>;

/** Those of strength 0 are left out. @throws incompatibleLora when the file has no such tensor; invalidModelFile */
export function groupChanges(file: WeightFile, changes: readonly AppliedChange[]): Changes {
  const groups = new Map<string, AppliedChange[]>();
  for (const change of changes) {
    const { id, tensor, strength, scale } = change;
    if (!Number.isFinite(strength * scale))
      throw fail('invalidModelFile', `${id}: strength ${strength} · scale ${scale} is not a finite number.`);
    if (file.find(tensor) === undefined)
      throw fail('incompatibleLora', `${id}: changes "${tensor}"; ${file.name} has no such weight.`, {
        hint: 'It was made for another family of models.',
      });
    if (strength === 0) continue;
    const group = groups.get(tensor);
    if (group === undefined) groups.set(tensor, [change]);
    else group.push(change);
  }
  return groups;
}

/**
 * Brings those of `weights` that have arrays up to `changes`, all of them while no session runs; what has the right ones already is not
 * touched, nor are matrices of few bits (`branches.ts`). Where it throws, the weight at hand has no changes, and those after it have their former ones.
 * @throws incompatibleLora, invalidModelFile, runtimeFailed, outOfMemory, aborted
 */
export async function applyChanges(
  context: SessionContext,
  weights: readonly StoredWeight[],
  changes: Changes,
  signal?: AbortSignal,
): Promise<void> {
  const stale = weights
    .map((stored) => ({ stored, wanted: stored.weight.tensors.flatMap((name) => changes.get(name) ?? []) }))
    .filter(({ stored, wanted }) => stored.base !== undefined && stored.applied !== nameOf(wanted))
    .filter(({ stored }) => stored.weight.packed === undefined);
  for (const { stored, wanted } of stale) if (wanted.length === 0) restore(stored);
  const rest = stale.filter(({ wanted }) => wanted.length > 0);
  if (rest.length === 0) return;
  await context.lock(async () => {
    const merger = createMerger({ ...context, lock: atOnce });
    const factors = createFactorArrays(context.arrays);
    /** While one is computed, the next few are read and sent: each answer of the GPU's process takes its time. */
    const coming: { readonly stale: Stale; readonly ready: Promise<ReadyChange> }[] = [];
    const prepare = (stale: Stale): void => {
      const ready = readyFor(context, factors, stale, signal);
      ready.catch(() => undefined); // told in its turn
      coming.push({ stale, ready });
    };
    try {
      rest.slice(0, AHEAD).forEach(prepare);
      for (let i = AHEAD; ; i++) {
        const next = coming.shift();
        if (next === undefined) break;
        rest.slice(i, i + 1).forEach(prepare);
        try {
          await changeWeight(merger, factors, next.stale, await next.ready, signal);
        } catch (error) {
          restore(next.stale.stored);
          throw error;
        }
      }
    } finally {
      for (const { stale, ready } of coming)
        await ready.then((made) => discard(made, stale.stored)).catch(() => undefined);
      factors.dispose();
      await merger.dispose();
    }
  });
}

/** Weights that are made ready while one is computed; for each its factors are held twice. */
const AHEAD = 4;

/** For work that holds the lock already. */
const atOnce: Lock = (work) => work();

/** What tells lists of changes apart; '' for none. */
export function nameOf(changes: readonly AppliedChange[]): string {
  return changes.length === 0 ? '' : JSON.stringify(changes.map(({ id, strength }) => [id, strength]));
}

/** A weight that has other changes than it should. */
interface Stale {
  readonly stored: StoredWeight;
  readonly wanted: readonly AppliedChange[];
}

async function readyFor(
  { arrays }: SessionContext,
  factors: FactorArrays,
  { stored: { weight, base, changed }, wanted }: Stale,
  signal: AbortSignal | undefined,
): Promise<ReadyChange> {
  throwIfAborted(signal);
  if (base === undefined) throw fail('internalError', `${weight.name}: has no array that could be changed.`);
  // A kernel [O, I, h, w] is O rows of I·h·w.
  const [rows = 1, ...more] = weight.value.shape;
  const size = { rows, columns: more.reduce((product, count) => product * count, 1) };
  const plan = await readChanges(weight.name, size, wanted, floatsOnly(base.dtype), signal);
  return readyChange(arrays, factors, plan, base, changed, `${weight.name} changed`);
}

async function changeWeight(
  merger: Merger,
  factors: FactorArrays,
  { stored, wanted }: Stale,
  ready: ReadyChange,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    throwIfAborted(signal);
    if (stored.base === undefined)
      throw fail('internalError', `${stored.weight.name}: was freed while it was changed.`);
    await merger.merge(stored.base, ready);
    [stored.changed, stored.applied] = [ready.target, nameOf(wanted)];
  } catch (error) {
    discard(ready, stored);
    throw error;
  }
  for (const factor of Object.values(ready.factors)) factors.giveBack(factor);
}

/** Frees what was made for a change, but an array that the weight has from former ones. */
function discard({ factors, target }: ReadyChange, stored: StoredWeight | undefined): void {
  for (const factor of Object.values(factors)) factor.dispose();
  if (stored?.changed !== target) target.dispose();
}
