/** @file Everything that is stored, read from the disk, and the deletion of it. */
import { lockNames, type StoreContext } from './context.js';
import {
  hasData,
  names,
  ownerOfData,
  readAnyRecord,
  readJournal,
  readModelRecord,
  type AnyRecord,
  type JournalRecord,
  type ModelRecord,
} from './records.js';
import { recordOfSlot, removeRecord } from './slots.js';

export interface StoredFile {
  readonly id: string;
  readonly record: AnyRecord | undefined;
  readonly journal: JournalRecord | undefined;
}

export interface StoredFiles {
  readonly model: ModelRecord | undefined;
  readonly files: readonly StoredFile[];
}

/** Identity of the model → what there is of it. */
export type Catalog = ReadonlyMap<string, StoredFiles>;

export async function readCatalog({ disk }: StoreContext): Promise<Catalog> {
  const records = new Set((await disk.list()).flatMap(({ name }) => recordOfSlot(name) ?? []));
  const idsOf = (beginning: string): ReadonlySet<string> =>
    new Set([...records].filter((name) => name.startsWith(beginning)).map((name) => name.slice(beginning.length)));
  const files = await Promise.all(
    [...new Set([...idsOf(names.file('')), ...idsOf(names.journal(''))])].map(async (id): Promise<StoredFile> => ({
      id,
      record: await readAnyRecord(disk, id),
      journal: await readJournal(disk, id),
    })),
  );
  const models = new Map<string, StoredFiles>();
  for (const id of idsOf(names.model(''))) models.set(id, { model: await readModelRecord(disk, id), files: [] });
  for (const file of files) {
    const id = file.record?.model ?? file.journal?.model;
    if (id === undefined) continue; // neither can be read: what is left is swept away
    const known = models.get(id);
    models.set(id, { model: known?.model, files: [...(known?.files ?? []), file] });
  }
  return models;
}

/** Bytes on the disk: those of whole files, of these those that were made, and those of files on their way. */
export function bytesOf({ files }: StoredFiles): {
  readonly whole: number;
  readonly derived: number;
  readonly partial: number;
} {
  return files.reduce(
    ({ whole, derived, partial }, { record, journal }) => ({
      whole: whole + (hasData(record) ? record.bytes : 0),
      derived: derived + (record?.kind === 'derived' ? record.bytes : 0),
      partial: partial + (journal === undefined ? 0 : partialBytes(journal)),
    }),
    { whole: 0, derived: 0, partial: 0 },
  );
}

/** Whether a file of it is being read or downloaded, in any tab. */
export function isInUse({ locks }: StoreContext, { files }: StoredFiles): Promise<boolean> {
  return locks.anyHeld(
    files.flatMap(({ id, record, journal }) => [
      lockNames.download(id),
      ...(hasData(record) ? [lockNames.data(record.data)] : []),
      ...(journal === undefined ? [] : [lockNames.data(journal.data)]),
    ]),
  );
}

/**
 * Deletes a model: it is gone from the list at once; data that is being read goes when it no longer is, and a file that is being
 * downloaded stays.
 */
export async function deleteModel(context: StoreContext, id: string, { files }: StoredFiles): Promise<void> {
  const { disk, locks } = context;
  for (const file of files) {
    await locks.tryHold(lockNames.download(file.id), async () => {
      const [record, journal] = [await readAnyRecord(disk, file.id), await readJournal(disk, file.id)];
      await removeRecord(disk, names.file(file.id)); // first: what has no record is not read
      await removeRecord(disk, names.journal(file.id));
      if (hasData(record)) await removeData(context, record.data);
      if (journal !== undefined) await removeData(context, journal.data);
    });
  }
  await locks.hold(lockNames.model(id), () => removeRecord(disk, names.model(id)));
}

/** A name for data that none has, nor had as far as can be told (clocks may be set back): what is being read is not written to. */
export async function freshData({ disk, now }: StoreContext, id: string): Promise<string> {
  let name = names.data(id, now().toString(36));
  while ((await disk.view(name)) !== undefined) name += '0';
  return name;
}

/** Deletes data unless somebody reads it; then {@link sweep} will. */
export async function removeData({ disk, locks }: StoreContext, data: string): Promise<void> {
  await locks.tryHold(lockNames.data(data), () => disk.remove(data));
}

/**
 * Deletes data that no record names: of downloads that were cut off at their very beginning, of deleted models, and of old versions.
 * @param only these, for which it waits until nobody changes their files any more; default all there is, but for what is being changed
 */
export async function sweep(context: StoreContext, only?: readonly string[]): Promise<void> {
  const { disk, locks } = context;
  for (const name of only ?? (await disk.list()).map((entry) => entry.name)) {
    const id = ownerOfData(name);
    if (id === undefined) continue;
    const look = async (): Promise<void> => {
      const [record, journal] = [await readAnyRecord(disk, id), await readJournal(disk, id)];
      const named = (hasData(record) && record.data === name) || journal?.data === name;
      if (!named) await removeData(context, name);
    };
    if (only === undefined) await locks.tryHold(lockNames.download(id), look);
    else await locks.hold(lockNames.download(id), look);
  }
}

/** What was left half-way and not gone on with for so long is not asked for again. */
const ABANDONED_MS = 30 * 86_400_000;

/** Deletes downloads that were left half-way long ago. */
export async function sweepAbandoned(context: StoreContext): Promise<void> {
  const beginning = names.journal('');
  for (const record of new Set((await context.disk.list()).flatMap(({ name }) => recordOfSlot(name) ?? []))) {
    if (!record.startsWith(beginning)) continue;
    const id = record.slice(beginning.length);
    const journal = await readJournal(context.disk, id);
    if (journal !== undefined && context.now() - journal.savedAt > ABANDONED_MS) await deletePartial(context, id);
  }
}

/** Deletes what has arrived of a file, unless it is being downloaded. @returns its bytes; `undefined` where nothing was deleted */
export async function deletePartial(context: StoreContext, id: string): Promise<number | undefined> {
  const { disk, locks } = context;
  const deleted = await locks.tryHold(lockNames.download(id), async () => {
    const [record, journal] = [await readAnyRecord(disk, id), await readJournal(disk, id)];
    if (journal === undefined) return undefined;
    await removeRecord(disk, names.journal(id));
    if (hasData(record) && record.data === journal.data) return 0; // it is whole: a crash left the journal
    await removeData(context, journal.data);
    return partialBytes(journal);
  });
  return deleted?.value;
}

function partialBytes({ partial }: JournalRecord): number {
  return partial.done.reduce((sum, [start, end]) => sum + end - start, 0);
}
