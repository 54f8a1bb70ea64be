/** @file Which changes each weight is to have, and bringing the arrays on the device up to them. */
import type { AppliedChange } from '../assets/weight-change.js';
import type { WeightFile } from '../assets/weights.js';
import { fail, throwIfAborted } from '../base/errors.js';
import { readChanges } from './change-factors.js';
import type { Lock } from './lock.js';
import { floatsOnly } from './device-array.js';
import { createMerger, type Merger } from './merge.js';
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
 * touched. Where it throws, the weight at hand has no changes, and those after it have their former ones.
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
    .filter(({ stored, wanted }) => stored.base !== undefined && stored.applied !== nameOf(wanted));
  for (const { stored, wanted } of stale) if (wanted.length === 0) restore(stored);
  const rest = stale.filter(({ wanted }) => wanted.length > 0);
  if (rest.length === 0) return;
  await context.lock(async () => {
    const merger = createMerger({ ...context, lock: atOnce });
    try {
      for (const { stored, wanted } of rest) await changeWeight(context, merger, stored, wanted, signal);
    } finally {
      await merger.dispose();
    }
  });
}

/** For work that holds the lock already. */
const atOnce: Lock = (work) => work();

/** What tells lists of changes apart; '' for none. */
function nameOf(changes: readonly AppliedChange[]): string {
  return changes.length === 0 ? '' : JSON.stringify(changes.map(({ id, strength }) => [id, strength]));
}

async function changeWeight(
  { arrays }: SessionContext,
  merger: Merger,
  stored: StoredWeight,
  changes: readonly AppliedChange[],
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal);
  const { weight, base } = stored;
  if (base === undefined) return;
  // A kernel [O, I, h, w] is O rows of I·h·w.
  const [rows = 1, ...rest] = weight.value.shape;
  const size = { rows, columns: rest.reduce((product, count) => product * count, 1) };
  try {
    const plan = await readChanges(weight.name, size, changes, floatsOnly(base.dtype), signal);
    stored.changed ??= await arrays.zeros(base.shape, base.dtype, `${weight.name} changed`);
    await merger.merge(base, stored.changed, plan);
    stored.applied = nameOf(changes);
  } catch (error) {
    restore(stored);
    throw error;
  }
}
