/** @file Room for what is to be stored: asked for beforehand, and made by deleting what was not used for longest. */
import { fail } from '../../base/errors.js';
import { bytesOf, deleteModel, deletePartial, isInUse, readCatalog, type Catalog } from './catalog.js';
import { lockNames, type StoreContext } from './context.js';
import { isFull, type DiskFile } from './disk.js';

/** Left free beyond what is asked for: records, and what other parts of the site need. */
const MARGIN_BYTES = 32 << 20;

/**
 * Sees to it that `bytes` more fit, where the browser tells how much there is. Pinned models, those in use, and `keep` are not touched.
 * @throws storageFull
 */
export async function makeRoom(context: StoreContext, bytes: number, keep: string): Promise<void> {
  const { estimate, locks } = context;
  if (estimate === undefined) return;
  await locks.hold(lockNames.room, async () => {
    const { quota, usage = 0 } = await estimate();
    if (quota === undefined) return;
    let free = quota - usage;
    while (free < bytes + MARGIN_BYTES) {
      const freed = await evictOne(context, keep);
      if (freed === undefined) throw storageFull(bytes, free);
      free += freed;
    }
  });
}

/**
 * Deletes the model that was used longest ago; where none may be deleted, a file that was left half-way, of whatever model.
 * @returns its bytes, or `undefined` when nothing may be deleted
 */
async function evictOne(context: StoreContext, keep: string): Promise<number | undefined> {
  const catalog = await readCatalog(context);
  return (await evictModel(context, catalog, keep)) ?? (await evictPartial(context, catalog));
}

async function evictModel(context: StoreContext, catalog: Catalog, keep: string): Promise<number | undefined> {
  const candidates = [...catalog]
    .filter(([id, { model }]) => id !== keep && model?.pinned !== true)
    .sort(([, a], [, b]) => (a.model?.usedAt ?? 0) - (b.model?.usedAt ?? 0));
  for (const [id, files] of candidates) {
    if (await isInUse(context, files)) continue;
    const { whole, partial } = bytesOf(files);
    await deleteModel(context, id, files);
    if (whole + partial > 0) return whole + partial;
  }
  return undefined;
}

/** The one that was gone on with longest ago; not one that is being downloaded. */
async function evictPartial(context: StoreContext, catalog: Catalog): Promise<number | undefined> {
  const left = [...catalog.values()]
    .flatMap(({ files }) => files.flatMap(({ id, journal }) => (journal === undefined ? [] : [{ id, journal }])))
    .sort((a, b) => a.journal.savedAt - b.journal.savedAt);
  for (const { id } of left) {
    const bytes = await deletePartial(context, id);
    if (bytes !== undefined && bytes > 0) return bytes;
  }
  return undefined;
}

/**
 * Runs `work`, which writes, and runs it again after each model that had to go for it. Writes that fail for want of room must be
 * such that they can be repeated.
 * @throws storageFull when nothing more may go
 */
export async function withRoom<T>(context: StoreContext, keep: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isFull(error)) throw error;
  }
  return context.locks.hold(lockNames.room, async () => {
    for (;;) {
      try {
        return await work(); // whoever held the lock before may have made room
      } catch (error) {
        if (!isFull(error)) throw error;
        if ((await evictOne(context, keep)) === undefined) throw storageFull(undefined, undefined);
      }
    }
  });
}

/** The file, whose writes make room where there is none. */
export function roomyFile(context: StoreContext, keep: string, file: DiskFile): DiskFile {
  return {
    ...file,
    write: (bytes, at) => withRoom(context, keep, () => file.write(bytes, at)),
    flush: () => withRoom(context, keep, () => file.flush()),
  };
}

function storageFull(needed: number | undefined, free: number | undefined): Error {
  const what =
    needed === undefined || free === undefined
      ? 'The browser has no room left for this file'
      : `The file needs ${megabytes(needed)} MB; the browser has ${megabytes(Math.max(0, free))} MB left for this site`;
  return fail('storageFull', `${what}, and no stored model may be deleted for it.`, {
    hint: 'Delete or unpin stored models, free space on the disk, or read the model without storing it (store: off).',
  });
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / 1e6);
}
