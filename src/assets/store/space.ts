/**
 * @file Room for what is to be stored: asked for beforehand, taken at once where the disk can, and made by deleting what was not used for longest. What
 * would not be enough is not deleted.
 */
import { deleteModel, deletePartial, isInUse, readCatalog, type Catalog, type StoredFile } from './catalog.js';
import { lockNames, storageFull, type StoreContext } from './context.js';
import { isFull, type DiskFile } from './disk.js';
import { hasData } from './records.js';

/** Left free beyond what is asked for: records, and what other parts of the site need. */
const MARGIN_BYTES = 32 << 20;
/** Chromium 156 gives a growing file room in powers of two and, beyond 128 MiB, in multiples of it; so much more may be there than trials find. */
const SLACK_BYTES = 128 << 20;
/** Halvings until the free room is found: to less than a MB of any file that fits into a browser. */
const TRIALS = 16;

const GIB = 2 ** 30;

/** What room is for. */
export interface RoomFor {
  /** The model that may not be deleted for it. */
  readonly model: string;
  /** Of the file, where it is known. */
  readonly bytes: number | undefined;
}

/** Something that may be deleted to make room. */
interface Evictable {
  readonly bytes: number;
  /** @returns whether it was deleted; not where somebody has begun to use it */
  remove(): Promise<boolean>;
}

/**
 * Sees to it that `bytes` more fit, where the browser tells how much there is. Pinned models, those in use, and that of `room` are not touched.
 * @throws storageFull; nothing was deleted then
 */
export async function makeRoom(context: StoreContext, bytes: number, { model }: RoomFor): Promise<void> {
  if ((await freeBytes(context)) === undefined) return;
  await context.locks.hold(lockNames.room, async () => {
    const told = await freeBytes(context);
    if (told === undefined) return;
    let free = told;
    const candidates = free < bytes + MARGIN_BYTES ? await evictables(context, model) : [];
    if (free + sumOf(candidates) < bytes + MARGIN_BYTES) throw tooLarge(bytes, free, sumOf(candidates));
    for (const candidate of candidates) {
      if (free >= bytes + MARGIN_BYTES) return;
      if (await candidate.remove()) free += candidate.bytes;
    }
    if (free < bytes + MARGIN_BYTES) throw tooLarge(bytes, free, 0);
  });
}

/**
 * Bytes that the browser says are free; `undefined` where it does not. Chromium (seen in 156) says 10 GiB more than is used as the quota, whatever there is and
 * whatever it enforces, so that visitors cannot be told by it; whole GiB are taken for that.
 */
async function freeBytes({ estimate }: StoreContext): Promise<number | undefined> {
  const { quota, usage = 0 } = (await estimate?.().catch(() => undefined)) ?? {};
  if (quota === undefined) return undefined;
  const free = quota - usage;
  return free > 0 && free % GIB === 0 ? undefined : free;
}

/**
 * What may go, the first to go first: models by their last use, then files that were left half-way, of whatever model, by the time they were last gone on
 * with. Not what is being read or downloaded.
 */
async function evictables(context: StoreContext, keep: string): Promise<readonly Evictable[]> {
  const catalog = await readCatalog(context);
  const sizes = new Map((await context.disk.list()).map(({ name, bytes }) => [name, bytes]));
  const bytesOf = ({ record, journal }: StoredFile): number =>
    [...new Set([...(hasData(record) ? [record.data] : []), ...(journal === undefined ? [] : [journal.data])])]
      .map((data) => sizes.get(data) ?? 0)
      .reduce((sum, bytes) => sum + bytes, 0);
  const models = await evictableModels(context, catalog, keep, bytesOf);
  const goes = new Set(models.map(({ id }) => id));
  const partials = [...catalog]
    .filter(([id]) => !goes.has(id))
    .flatMap(([, { files }]) => files)
    .flatMap(({ id, journal }) => (journal === undefined ? [] : [{ id, journal }]))
    .sort((a, b) => a.journal.savedAt - b.journal.savedAt);
  const unused: Evictable[] = [];
  for (const { id, journal } of partials) {
    if (await context.locks.anyHeld([lockNames.download(id)])) continue;
    const bytes = bytesOf({ id, journal, record: undefined });
    unused.push({ bytes, remove: async () => ((await deletePartial(context, id)) ?? 0) > 0 });
  }
  return [...models, ...unused].filter(({ bytes }) => bytes > 0);
}

async function evictableModels(
  context: StoreContext,
  catalog: Catalog,
  keep: string,
  bytesOf: (file: StoredFile) => number,
): Promise<readonly (Evictable & { readonly id: string })[]> {
  const models = [...catalog]
    .filter(([id, { model }]) => id !== keep && model?.pinned !== true)
    .sort(([, a], [, b]) => (a.model?.usedAt ?? 0) - (b.model?.usedAt ?? 0));
  const unused: (Evictable & { readonly id: string })[] = [];
  for (const [id, stored] of models) {
    if (await isInUse(context, stored)) continue;
    const bytes = stored.files.reduce((sum, file) => sum + bytesOf(file), 0);
    const remove = async (): Promise<boolean> => {
      if (await isInUse(context, stored)) return false;
      await deleteModel(context, id, stored);
      return true;
    };
    unused.push({ id, bytes, remove });
  }
  return unused;
}

function sumOf(candidates: readonly Evictable[]): number {
  return candidates.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Runs `work`, which writes, and runs it again after each model that had to go for it. Writes that fail for want of room must be
 * such that they can be repeated.
 * @throws storageFull when nothing more may go
 */
export async function withRoom<T>(context: StoreContext, room: RoomFor, work: () => Promise<T>): Promise<T> {
  const first = await unlessNoRoom(work);
  if (first !== undefined) return first.value;
  return context.locks.hold(lockNames.room, async () => {
    for (;;) {
      const done = await unlessNoRoom(work); // whoever held the lock before may have made room
      if (done !== undefined) return done.value;
      if (!(await evictOne(context, room.model))) throw ranOut(room);
    }
  });
}

async function evictOne(context: StoreContext, keep: string): Promise<boolean> {
  for (const candidate of await evictables(context, keep)) if (await candidate.remove()) return true;
  return false;
}

/** `undefined` where there is no room for it. */
async function unlessNoRoom<T>(work: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!isFull(error)) throw error;
    return undefined;
  }
}

/** The file, whose writes make room where there is none, and which takes its room at once where the disk can. */
export function roomyFile(context: StoreContext, room: RoomFor, file: DiskFile): DiskFile {
  return {
    ...file,
    write: (bytes, at) => withRoom(context, room, () => file.write(bytes, at)),
    flush: () => withRoom(context, room, () => file.flush()),
    ...(isReservable(file) ? { reserve: (bytes: number) => takeRoom(context, room, file, bytes) } : {}),
  };
}

type Reservable = DiskFile & Required<Pick<DiskFile, 'reserve'>>;

function isReservable(file: DiskFile): file is Reservable {
  return 'reserve' in file;
}

/** Makes the file as long as it will be. @throws storageFull; where what may be deleted would not be enough, nothing was */
async function takeRoom(context: StoreContext, { model }: RoomFor, file: Reservable, bytes: number): Promise<void> {
  const had = await file.bytes();
  if (had >= bytes || (await takes(file, bytes))) return;
  await context.locks.hold(lockNames.room, async () => {
    if (await takes(file, bytes)) return;
    const candidates = await evictables(context, model);
    const free = await freeByTrial(file, bytes);
    if (free + sumOf(candidates) + SLACK_BYTES < bytes - had) throw tooLarge(bytes - had, free, sumOf(candidates));
    for (const candidate of candidates) if ((await candidate.remove()) && (await takes(file, bytes))) return;
    if ((await unlessNoRoom(() => file.reserve(bytes))) !== undefined) return; // there is no margin: so be it
    throw tooLarge(bytes - had, await freeByTrial(file, bytes), 0);
  });
}

/** Whether there is room for the file, which has it then, and for what else will be written. */
async function takes(file: Reservable, bytes: number): Promise<boolean> {
  if ((await unlessNoRoom(() => file.reserve(bytes + MARGIN_BYTES))) === undefined) return false;
  await file.truncate(bytes);
  return true;
}

/** How much longer than it is the file could be, where that is less than `bytes`. */
async function freeByTrial(file: Reservable, bytes: number): Promise<number> {
  const had = await file.bytes();
  let [fits, fails] = [had, bytes];
  for (let trial = 0; trial < TRIALS; trial++) {
    const middle = Math.floor((fits + fails) / 2);
    if ((await unlessNoRoom(() => file.reserve(middle))) === undefined) fails = middle;
    else fits = middle;
    await file.truncate(had);
  }
  return fits - had;
}

function tooLarge(needed: number, free: number, evictable: number): Error {
  const others =
    evictable === 0
      ? 'no stored model may be deleted for it'
      : `the stored models that may be deleted for it are ${megabytes(evictable)} MB, which is not enough`;
  return storageFull(
    `The file needs ${megabytes(needed)} MB; the browser has ${megabytes(Math.max(0, free))} MB left for this site, and ${others}`,
  );
}

function ranOut({ bytes }: RoomFor): Error {
  const file = bytes === undefined ? 'this file' : `this file of ${megabytes(bytes)} MB`;
  return storageFull(`The browser has no room left for ${file}, and no stored model may be deleted for it`);
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / 1e6);
}
