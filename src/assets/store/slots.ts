/**
 * @file Small records that a crash cannot tear. A record has two slots, written in turn, each with a number and a hash: of the slots that
 * are whole the later one counts, so that a write which does not finish leaves what was there before.
 */
import { sha256 } from '../download/sha256.js';
import type { Disk } from './disk.js';

/** A read record: its number counts the writes. */
interface Slot {
  readonly count: number;
  readonly body: string;
}

/** Longer ones are not ours. */
const RECORD_LIMIT = 4 << 20;

/** What was last written under `name` and finished; `undefined` where there is nothing. Untrusted: another version may have written it. */
export async function readRecord(disk: Disk, name: string): Promise<unknown> {
  const body = latest(await readSlots(disk, name))?.body;
  const value: unknown = body === undefined ? undefined : JSON.parse(body); // the hash says that it is what was written
  return value;
}

/** Replaces a record. When this returns, it outlasts a crash. The caller sees to it that nobody else writes the same one. */
export async function writeRecord(disk: Disk, name: string, value: unknown): Promise<void> {
  const [a, b] = await readSlots(disk, name);
  const count = Math.max(a?.count ?? 0, b?.count ?? 0) + 1;
  const slot = (a?.count ?? 0) <= (b?.count ?? 0) ? 'a' : 'b'; // the older
  const body = JSON.stringify(value);
  const bytes = new TextEncoder().encode(`${count} ${sha256(new TextEncoder().encode(`${count} ${body}`))}\n${body}`);
  const file = await disk.open(`${name}.${slot}`);
  try {
    await file.truncate(0);
    await file.write(bytes, 0);
    await file.flush();
  } finally {
    await file.close();
  }
}

/** Deletes a record, its older slot first: a crash in between leaves the record as it was. */
export async function removeRecord(disk: Disk, name: string): Promise<void> {
  const [a, b] = await readSlots(disk, name);
  for (const slot of (a?.count ?? 0) <= (b?.count ?? 0) ? ['a', 'b'] : ['b', 'a']) await disk.remove(`${name}.${slot}`);
}

/** The record that a file of the disk is a slot of; `undefined` for other files. */
export function recordOfSlot(file: string): string | undefined {
  return /^(.+)\.[ab]$/.exec(file)?.[1];
}

function readSlots(disk: Disk, name: string): Promise<readonly [Slot | undefined, Slot | undefined]> {
  return Promise.all([readSlot(disk, `${name}.a`), readSlot(disk, `${name}.b`)]);
}

async function readSlot(disk: Disk, file: string): Promise<Slot | undefined> {
  const view = await disk.view(file);
  if (view === undefined || view.bytes > RECORD_LIMIT) return undefined;
  const bytes = await view.read(0, view.bytes).catch(() => new Uint8Array(0)); // written again while it was read: the other slot is whole
  const text = new TextDecoder().decode(bytes);
  const [, count, hash, body] = /^(\d{1,15}) ([0-9a-f]{64})\n(.*)$/s.exec(text) ?? [];
  if (count === undefined || body === undefined) return undefined;
  return sha256(new TextEncoder().encode(`${count} ${body}`)) === hash ? { count: Number(count), body } : undefined;
}

function latest([a, b]: readonly [Slot | undefined, Slot | undefined]): Slot | undefined {
  return (a?.count ?? 0) >= (b?.count ?? 0) ? a : b;
}
