/**
 * @file A disk whose power can fail at any byte: what was flushed stays; of the rest any part may have reached the disk, in any order, the
 * last write cut anywhere; a deleted file may be back.
 */
import { blobView, type Disk, type DiskFile } from '../../src/assets/store/disk.js';

export interface CrashingDisk {
  /** The disk of a new session; those before it are dead. */
  boot(): Disk;
  /** The power fails when so many more bytes have been written. */
  crashAfter(bytes: number): void;
  crashed(): boolean;
  /** What a file holds for a reader now. */
  contents(): ReadonlyMap<string, Uint8Array>;
}

type Change =
  | { readonly kind: 'write'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly length: number };

interface Medium {
  /** What outlasts a crash. */
  readonly durable: Uint8Array;
  /** What came since, in order. */
  readonly pending: readonly Change[];
}

export class PowerFailure extends Error {
  override readonly name = 'PowerFailure';
}

/** @param random 0 ≤ x < 1 */
export function createCrashingDisk(random: () => number): CrashingDisk {
  let media = new Map<string, Medium>();
  const deleted = new Map<string, Medium>();
  let session = 0;
  let left = Infinity;

  const fail = (): void => {
    const survivors = [...media].map(
      ([name, medium]) => [name, { durable: survive(medium, random), pending: [] }] as const,
    );
    const risen = [...deleted].filter(([name]) => !media.has(name) && random() < 0.3);
    media = new Map([...survivors, ...risen.map(([name, m]) => [name, { durable: m.durable, pending: [] }] as const)]);
    deleted.clear();
    session++;
    left = Infinity;
  };
  const mediumOf = (name: string): Medium => media.get(name) ?? { durable: new Uint8Array(0), pending: [] };
  const change = (name: string, added: Change): void => {
    const medium = mediumOf(name);
    media.set(name, { ...medium, pending: [...medium.pending, added] });
  };

  return {
    crashAfter: (bytes) => (left = bytes),
    crashed: () => left === Infinity,
    contents: () => new Map([...media].map(([name, medium]) => [name, current(medium)])),
    boot() {
      const mine = ++session;
      const alive = (): void => {
        if (mine !== session) throw new PowerFailure('The power has failed.');
      };
      const open = (name: string): DiskFile => ({
        bytes: async () => (alive(), Promise.resolve(current(mediumOf(name)).length)),
        read: async (start, end) => (alive(), Promise.resolve(current(mediumOf(name)).slice(start, end))),
        write: async (bytes, at) => {
          alive();
          const taken = bytes.slice(0, Math.min(bytes.length, left));
          left -= taken.length;
          change(name, { kind: 'write', at, bytes: taken });
          if (left <= 0) fail();
          alive();
          return Promise.resolve();
        },
        reserve: async (length) => {
          alive();
          if (current(mediumOf(name)).length < length) change(name, { kind: 'truncate', length });
          return Promise.resolve();
        },
        truncate: async (length) => (alive(), Promise.resolve(change(name, { kind: 'truncate', length }))),
        flush: async () => {
          alive();
          media.set(name, { durable: current(mediumOf(name)), pending: [] });
          return Promise.resolve();
        },
        close: async () => (alive(), Promise.resolve()),
      });
      return {
        kind: 'memory',
        list: async () => (
          alive(),
          Promise.resolve([...media].map(([name, m]) => ({ name, bytes: current(m).length })))
        ),
        open: async (name) => {
          alive();
          media.set(name, mediumOf(name));
          return Promise.resolve(open(name));
        },
        view: async (name) => {
          alive();
          const medium = media.get(name);
          return Promise.resolve(medium && blobView(new Blob([current(medium)])));
        },
        remove: async (name) => {
          alive();
          const medium = media.get(name);
          if (medium !== undefined) deleted.set(name, medium);
          media.delete(name);
          return Promise.resolve();
        },
      };
    },
  };
}

function apply(bytes: Uint8Array, change: Change): Uint8Array<ArrayBuffer> {
  const length = change.kind === 'truncate' ? change.length : Math.max(bytes.length, change.at + change.bytes.length);
  const out = new Uint8Array(length);
  out.set(bytes.subarray(0, length));
  if (change.kind === 'write') out.set(change.bytes, change.at);
  return out;
}

function current({ durable, pending }: Medium): Uint8Array<ArrayBuffer> {
  return pending.reduce<Uint8Array<ArrayBuffer>>(apply, durable.slice());
}

/** What a crash leaves: of each unsaved change all, nothing, or a part; sometimes all of them, as when only the tab died. */
function survive({ durable, pending }: Medium, random: () => number): Uint8Array {
  if (random() < 0.3) return current({ durable, pending });
  return pending.reduce<Uint8Array>((bytes, change) => {
    const luck = random();
    if (luck < 0.4) return bytes;
    if (luck < 0.7 || change.kind === 'truncate') return apply(bytes, change);
    return apply(bytes, { ...change, bytes: change.bytes.subarray(0, Math.floor(random() * change.bytes.length)) });
  }, durable);
}
