/** @file One network that is run block by block: its weights, what changes them, and the sessions that are made of it at present. */
import type { WeightFile } from '../../assets/weights.js';
import { changesByTensor, type AppliedChange } from '../../assets/weight-change.js';
import { isBlockType } from '../../base/gguf-blocks.js';
import { createLock, type Lock } from '../../runtime/lock.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { LoadOptions, WeightBank } from '../../runtime/weights.js';
import type { LoadRun } from '../component.js';
import { createPendingChanges } from '../pending-changes.js';
import { createSlot, type Owned } from '../slot.js';
import { packedChanges } from './packing.js';

/** Makes sessions of a network's weights; read them with these options. */
export type MakeSessions<T> = (bank: WeightBank, options: LoadOptions) => Promise<T>;

/** `T`: the sessions that make the network together. */
export interface BlockNetwork<T extends Owned> {
  readonly file: WeightFile;
  /** Brings the weights of blocks one after the other: of its own, and of what is run in turn with them. */
  readonly pipe: Lock;
  /**
   * The sessions for `key`, those that are there or new ones; the former are freed. Reports `load` with bytes the first time and `compile` for
   * another key.
   * @param bytes that making them reads, in all
   */
  load(key: string, bytes: number, make: MakeSessions<T>, run: LoadRun): Promise<T>;
  /** Makes something that is needed once, beside the sessions, and frees it. */
  once<S extends Owned, R>(
    bytes: number,
    make: MakeSessions<S>,
    run: LoadRun,
    use: (made: S) => Promise<R>,
  ): Promise<R>;
  /** What changes the weights from the next `load` on, in place of whatever did before. */
  adapt(changes: readonly AppliedChange[]): void;
  /** Frees the sessions and the weights; the next `load` reads them again. */
  dispose(): Promise<void>;
}

/** @param rounded whether matrices of floats are kept in few bits */
export function createBlockNetwork<T extends Owned>(
  runtime: Runtime,
  file: WeightFile,
  rounded = false,
): BlockNetwork<T> {
  const bank = runtime.openBank(file);
  const slot = createSlot<T>();
  const changes = createPendingChanges(bank);
  let loaded = false;
  /** Names those matrices of few bits that are floats, for what changes them. */
  let unpacked = '';

  const free = async (): Promise<void> => {
    loaded = false;
    await slot.dispose();
    bank.dispose();
  };

  /** Where other matrices of few bits than before are to be floats, in other graphs, all is made anew. */
  const unpack = async (changes: readonly AppliedChange[]): Promise<void> => {
    const quantised = [...packedChanges(file, changesByTensor(changes)).floats].filter(
      (name) => rounded || isBlockType(file.find(name)?.dtype ?? ''),
    );
    const floats = quantised.sort().join();
    if (floats !== unpacked) await free();
    unpacked = floats;
  };
  const make = <S>(bytes: number, write: MakeSessions<S>, { progress, signal }: LoadRun, first: boolean): Promise<S> =>
    progress.stage(first ? 'load' : 'compile', () => {
      const onBytes = first ? (count: number) => progress.bytes(count, bytes) : undefined;
      return write(bank, { signal, onBytes, constants: 'input' });
    });

  return {
    file,
    pipe: createLock(),
    async load(key, bytes, write, run) {
      await changes.apply(run, unpack);
      return slot.get(key, async () => {
        const made = await make(bytes, write, run, !loaded);
        loaded = true;
        return made;
      });
    },
    async once(bytes, write, run, use) {
      await changes.apply(run, unpack);
      const made = await make(bytes, write, run, true);
      try {
        return await use(made);
      } finally {
        await made.dispose();
      }
    },
    adapt: changes.want,
    dispose: free,
  };
}

/** Makes things one after the other; if one cannot be made, those before it are freed. */
export async function makeAll<const M extends Readonly<Record<string, () => Promise<Owned>>>>(
  makers: M,
): Promise<{ readonly [K in keyof M]: Awaited<ReturnType<M[K]>> } & Owned> {
  const made: Record<string, Owned> = {};
  const dispose = async (): Promise<void> => {
    for (const thing of Object.values(made)) await thing.dispose();
  };
  try {
    for (const [name, make] of Object.entries(makers)) made[name] = await make();
  } catch (error) {
    await dispose();
    throw error;
  }
  // Each entry was made by the maker of its name; TypeScript cannot follow the loop.
  return { ...made, dispose } as { readonly [K in keyof M]: Awaited<ReturnType<M[K]>> } & Owned;
}
