/** @file What is to change a network's weights, until the next load brings it about. */
import type { AppliedChange } from '../assets/weight-change.js';
import type { WeightBank } from '../runtime/weights.js';
import type { LoadRun } from './component.js';

export interface PendingChanges {
  /** What changes the weights from the next {@link apply} on, in place of whatever did before. */
  readonly want: (changes: readonly AppliedChange[]) => void;
  /** Brings the weights up to what is wanted, where they are not. @param prepare what is done before the first of them is touched */
  apply(run: LoadRun, prepare?: (changes: readonly AppliedChange[]) => Promise<void>): Promise<void>;
}

export function createPendingChanges(bank: WeightBank): PendingChanges {
  let wanted: readonly AppliedChange[] = [];
  let applied: readonly AppliedChange[] | undefined = wanted;
  return {
    want(changes) {
      wanted = changes;
    },
    async apply({ progress, signal }, prepare) {
      if (applied === wanted) return;
      const changes = wanted;
      applied = undefined; // where this fails, the bank has none
      await prepare?.(changes);
      await progress.stage('load', () => bank.adapt(changes, { signal }));
      applied = changes;
    },
  };
}
