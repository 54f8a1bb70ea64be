/**
 * @file A file that is made of a model's files, into the store: as with downloads, one tab makes it while others wait, its journal is beside it,
 * and its record is written last, so that what can be seen is whole.
 */
import { fail, throwIfAborted } from '../../base/errors.js';
import type { DerivedFile, DerivedOutput } from '../derived-files.js';
import { DEFAULT_TUNING } from '../download/transfer.js';
import { freshData, removeData } from './catalog.js';
import { lockNames, onDisk, type ModelOfStore, type StoreContext } from './context.js';
import { giveBackRoom, type DiskFile } from './disk.js';
import { names, readDerivedRecord, readJournal, type DerivedRecord, type JournalRecord } from './records.js';
import { removeRecord, writeRecord } from './slots.js';
import { makeRoom, roomyFile, withRoom } from './space.js';

/** A file of a model, and the store's name for it. */
export interface DerivedOfModel {
  readonly id: string;
  readonly model: ModelOfStore;
  readonly file: DerivedFile;
}

/**
 * Makes a file, goes on with one that was left half-way, or finds that another tab has made it meanwhile. What is there under another key goes first.
 * @throws storageFull, storageFailed, aborted, and what `write` throws. What was written stays, and is gone on from
 */
export async function derive(
  context: StoreContext,
  derived: DerivedOfModel,
  signal: AbortSignal | undefined,
): Promise<DerivedRecord> {
  const { disk, locks } = context;
  const work = async (): Promise<DerivedRecord> => {
    throwIfAborted(signal);
    const there = await onDisk(() => wholeOf(context, derived));
    if (there !== undefined) return there;
    const journal = await onDisk(() => journalOf(context, derived));
    const record = await make(context, derived, journal);
    await onDisk(() => removeRecord(disk, names.journal(derived.id)));
    return record;
  };
  const lock = lockNames.download(derived.id);
  const mine = await locks.tryHold(lock, work);
  return mine === undefined ? locks.hold(lock, work, { signal }) : mine.value;
}

/** The record of the file, if it is there under this key; one of another key, or without its data, is removed. */
async function wholeOf(context: StoreContext, { id, file }: DerivedOfModel): Promise<DerivedRecord | undefined> {
  const { disk } = context;
  const record = await readDerivedRecord(disk, id);
  if (record === undefined) return undefined;
  const view = record.key === file.key ? await disk.view(record.data) : undefined;
  if (view?.bytes === record.bytes) return record;
  await removeRecord(disk, names.file(id)); // first: what has no record is not read
  await removeData(context, record.data);
  return undefined;
}

/** What was left half-way under this key; of another key, it is removed. */
async function journalOf(context: StoreContext, { id, file }: DerivedOfModel): Promise<JournalRecord | undefined> {
  const journal = await readJournal(context.disk, id);
  if (journal === undefined || (journal.key === file.key && journal.partial.version.size === file.bytes))
    return journal;
  await removeRecord(context.disk, names.journal(id));
  await removeData(context, journal.data);
  return undefined;
}

/** Holds the lock of the file's making. */
async function make(
  context: StoreContext,
  derived: DerivedOfModel,
  left: JournalRecord | undefined,
): Promise<DerivedRecord> {
  const { disk, now } = context;
  const { id, model, file } = derived;
  const data = left?.data ?? (await onDisk(() => freshData(context, id)));
  const noted = endOf(left);
  const room = { model: model.id, bytes: file.bytes };
  await onDisk(() => makeRoom(context, file.bytes - noted, room));
  if (left === undefined) await note(context, derived, data, 0); // before the data: what no record names is swept away
  const opened = await onDisk(() => withRoom(context, room, () => disk.open(data)));
  try {
    const from = (await onDisk(() => opened.bytes())) >= noted ? noted : 0;
    await writeAll(context, derived, { data, opened: roomyFile(context, room, opened), from });
  } finally {
    await onDisk(() => opened.close());
  }
  const record: DerivedRecord = {
    kind: 'derived',
    model: model.id,
    data,
    bytes: file.bytes,
    key: file.key,
    storedAt: now(),
  };
  await onDisk(() => withRoom(context, room, () => writeRecord(disk, names.file(id), record)));
  return record;
}

function endOf(journal: JournalRecord | undefined): number {
  const [[start, end] = [0, 0]] = journal?.partial.done ?? [];
  return start === 0 ? end : 0;
}

interface Writing {
  readonly data: string;
  readonly opened: DiskFile;
  readonly from: number;
}

/** Writes what is missing, and notes now and then how far it has come. When this returns, all of it outlasts a crash. */
async function writeAll(
  context: StoreContext,
  derived: DerivedOfModel,
  { data, opened, from }: Writing,
): Promise<void> {
  const { now, tuning } = context;
  const { saveBytes, saveMs } = { ...DEFAULT_TUNING, ...tuning };
  const { file } = derived;
  let [done, saved, savedAt] = [from, from, now()];
  const save = async (): Promise<void> => {
    await onDisk(() => opened.flush());
    await note(context, derived, data, done);
    [saved, savedAt] = [done, now()];
  };
  const output: DerivedOutput = {
    write: (bytes, at) => onDisk(() => opened.write(bytes, at)),
    async done(end) {
      done = end;
      if (done - saved >= saveBytes || now() - savedAt >= saveMs) await save();
    },
  };
  try {
    await onDisk(async () => opened.reserve?.(file.bytes));
    await file.write(output, from);
  } catch (error) {
    // the reason it ended is what matters; a disk that fails now keeps what was noted before
    if (done > saved) await save().catch(() => undefined);
    await giveBackRoom(opened, done).catch(() => undefined);
    throw error;
  }
  await onDisk(() => opened.flush());
  const bytes = Math.min(done, await onDisk(() => opened.bytes()));
  if (bytes === file.bytes) return;
  throw fail('internalError', `${file.what}: ${bytes} bytes were written, ${file.bytes} were expected.`);
}

async function note(
  context: StoreContext,
  { id, model, file }: DerivedOfModel,
  data: string,
  end: number,
): Promise<void> {
  const record: JournalRecord = {
    model: model.id,
    key: file.key,
    data,
    partial: { version: { size: file.bytes }, done: end === 0 ? [] : [[0, end]] },
    savedAt: context.now(),
  };
  const room = { model: model.id, bytes: undefined };
  await onDisk(() => withRoom(context, room, () => writeRecord(context.disk, names.journal(id), record)));
}
