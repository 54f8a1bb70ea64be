/**
 * @file A file into the store: one tab downloads it while others wait, its journal is beside it, and its record is written last, so that
 * what can be seen is whole.
 */
import { DarkroomError, fail } from '../../base/errors.js';
import {
  download,
  type Downloaded,
  type DownloadProgress,
  type Expected,
  type Found,
  type PartialFile,
} from '../download/download.js';
import { hubFacts, isFixed } from '../download/hub-facts.js';
import { countBytes } from '../download/ranges.js';
import { publicUrl } from '../http.js';
import { freshData, removeData } from './catalog.js';
import { lockNames, onDisk, type FileOfModel, type StoreContext } from './context.js';
import type { DownloadState } from './events.js';
import { hasOtherHash, names, readFileRecord, readJournal, type FileRecord, type JournalRecord } from './records.js';
import { removeRecord, writeRecord } from './slots.js';
import { makeRoom, roomyFile, withRoom, type RoomFor } from './space.js';

/** A version that is longer than the one before by more than this is not expected to fit in its place. */
const STEP_BYTES = 1 << 20;

/**
 * Downloads a file, or finds that another tab has done so meanwhile.
 * @param found what the server said of it just now
 * @throws downloadFailed, accessDenied, hashMismatch, storageFull, storageFailed, aborted. What has arrived stays, and is gone on from
 */
export async function bring(
  context: StoreContext,
  file: FileOfModel,
  found: Found,
  signal: AbortSignal | undefined,
): Promise<FileRecord> {
  const { disk, locks } = context;
  const tell = tellerOf(context, file, found);
  const work = async (): Promise<FileRecord> => {
    const before = await onDisk(() => readFileRecord(disk, file.id));
    const old = before?.kind === 'file' ? before : undefined;
    if (old?.stale === false && !hasOtherHash(old, file.expected)) return old;
    try {
      const record = await fetchFile(context, { file, found, signal, tell, old: old?.data }).catch((error: unknown) => {
        if (old === undefined || !isFullStore(error)) throw error;
        return insteadOf(context, { file, found, signal, tell, old }, error);
      });
      tell({ state: 'done', bytes: record.bytes, totalBytes: record.bytes });
      if (old !== undefined) await onDisk(() => removeData(context, old.data));
      return record;
    } catch (error) {
      tell({ state: 'failed' });
      throw error;
    }
  };
  const lock = lockNames.download(file.id);
  const mine = await locks.tryHold(lock, work);
  if (mine !== undefined) return mine.value;
  tell({ state: 'waiting' });
  return locks.hold(lock, work, { signal });
}

function isFullStore(error: unknown): boolean {
  return error instanceof DarkroomError && error.code === 'storageFull';
}

/**
 * There is no room for two versions: the old one goes before the new one is there, if nobody reads it and that would do.
 * @throws `why` where it would not
 */
async function insteadOf(
  context: StoreContext,
  { old, ...fetching }: Omit<Fetching, 'old'> & { readonly old: FileRecord },
  why: unknown,
): Promise<FileRecord> {
  const { file, found } = fetching;
  const size = found.kind === 'whole' ? found.bytes.length : found.size;
  const enough = size !== undefined && size <= old.bytes + STEP_BYTES;
  if (!enough || (await context.locks.anyHeld([lockNames.data(old.data)]))) throw why;
  await onDisk(async () => {
    await removeRecord(context.disk, names.file(file.id)); // first: what has no record is not read
    await removeData(context, old.data);
  });
  return fetchFile(context, { ...fetching, old: undefined });
}

/** Tells what is new; what it does not say is as before. Short files are not worth telling of. */
type Tell = (news: Partial<Omit<DownloadProgress, 'state'>> & { readonly state: DownloadState }) => void;

function tellerOf({ events }: StoreContext, file: FileOfModel, found: Found): Tell {
  const tell = events.of(file);
  let last: Omit<DownloadProgress, 'state'> = {
    bytes: 0,
    totalBytes: found.kind === 'whole' ? found.bytes.length : found.size,
    resumedBytes: 0,
  };
  return (news) => {
    last = { ...last, ...news };
    if (found.kind !== 'whole') tell(news.state, last.bytes, last.totalBytes, last.resumedBytes);
  };
}

interface Fetching {
  readonly file: FileOfModel;
  readonly found: Found;
  readonly signal: AbortSignal | undefined;
  readonly tell: Tell;
  /** The data of the version that is stored, which stays until the new one is there. */
  readonly old: string | undefined;
}

/** Holds the lock of the file's download. */
async function fetchFile(context: StoreContext, { file, found, signal, tell, old }: Fetching): Promise<FileRecord> {
  const { disk, http, tuning, now } = context;
  const { id, url, model } = file;
  const call = { deps: http, url, signal };
  const expected = await expectationOf(context, file, found, signal);
  // a journal that was not removed when its file was whole must not lead to that file being written to
  const left = await onDisk(() => readJournal(disk, id));
  const journal = left?.data === old ? undefined : left;
  const data = journal?.data ?? (await onDisk(() => freshData(context, id)));
  const size = expected.bytes ?? (found.kind === 'whole' ? found.bytes.length : found.size);
  const room = { model: model.id, bytes: size };
  await onDisk(() => makeRoom(context, (size ?? 0) - countBytes(journal?.partial.done ?? []), room));

  const save = (partial: PartialFile | undefined): Promise<void> => {
    const record: JournalRecord = {
      model: model.id,
      url: publicUrl(url),
      data,
      partial: partial ?? { version: {}, done: [] },
      savedAt: now(),
    };
    return onDisk(() => withRoom(context, room, () => writeRecord(disk, names.journal(id), record)));
  };
  if (journal === undefined) await save(undefined); // before the data: what no record names is swept away
  const downloaded = await withFile(context, room, data, (opened) =>
    download({
      call,
      file: opened,
      found,
      partial: journal?.partial,
      expected,
      note: save,
      tuning,
      onProgress: tell,
    }),
  );
  const record = recordOf(file, data, downloaded, { expected, storedAt: now() });
  await onDisk(async () => {
    await withRoom(context, room, () => writeRecord(disk, names.file(id), record));
    await removeRecord(disk, names.journal(id));
  });
  return record;
}

/** Runs `work` on an open file and closes it, whatever happens. Failures of the disk become `storageFailed`. */
async function withFile<T>(
  context: StoreContext,
  room: RoomFor,
  data: string,
  work: (file: ReturnType<typeof roomyFile>) => Promise<T>,
): Promise<T> {
  const opened = await onDisk(() => withRoom(context, room, () => context.disk.open(data)));
  let value: T;
  try {
    value = await onDisk(() => work(roomyFile(context, room, opened)));
  } catch (error) {
    await opened.close().catch(() => undefined); // what went wrong first is what matters
    throw error;
  }
  await onDisk(() => opened.close());
  return value;
}

function recordOf(
  { url, model }: FileOfModel,
  data: string,
  { bytes, sha256, found }: Downloaded,
  { expected, storedAt }: { readonly expected: Expected; readonly storedAt: number },
): FileRecord {
  return {
    kind: 'file',
    model: model.id,
    url: publicUrl(url),
    data,
    bytes,
    sha256,
    expected: expected.sha256 !== undefined,
    version: found.version,
    fixed: isFixed(url) || found.immutable,
    stale: found.page, // used as it is only while there is no network
    storedAt,
  };
}

/** What the file must be: as was given, else as the server's headers or the Hub say. @throws hashMismatch when they contradict */
async function expectationOf(
  { http }: StoreContext,
  { url, expected }: FileOfModel,
  found: Found,
  signal: AbortSignal | undefined,
): Promise<Expected> {
  const { sha256, size } = found.linked;
  const linked = { ...(sha256 === undefined ? {} : { sha256 }), ...(size === undefined ? {} : { bytes: size }) };
  const said = sha256 === undefined && found.kind !== 'whole' ? await hubFacts({ deps: http, url, signal }) : linked;
  const given = expected.sha256?.toLowerCase();
  if (given !== undefined && said.sha256 !== undefined && given !== said.sha256) {
    throw fail('hashMismatch', `${publicUrl(url)} has SHA-256 ${said.sha256} there; ${given} was expected.`, {
      hint: 'The address leads to another file than the one that was described.',
    });
  }
  return { ...linked, ...said, ...expected, ...(given === undefined ? {} : { sha256: given }) };
}
