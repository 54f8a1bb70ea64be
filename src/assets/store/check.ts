/**
 * @file Whether stored files are still those of the server. All files of a model are looked at together when it is first opened, at most
 * once a day: later opens, and a picture under way, cause no request.
 */
import { throwIfAborted } from '../../base/errors.js';
import { probe } from '../download/probe.js';
import { agrees } from '../download/version.js';
import { readCatalog, type StoredFile } from './catalog.js';
import { lockNames, onDisk, type ModelOfStore, type StoreContext } from './context.js';
import { unlessFull } from './disk.js';
import { names, readFileRecord, readModelRecord, type ModelRecord } from './records.js';
import { removeRecord, writeRecord } from './slots.js';

/** When stored files are compared with the server's: at most once a day, at each opening of a model, or never. */
export type Revalidation = 'daily' | 'always' | 'never';

const DAY_MS = 86_400_000;
/** Being online and being connected are two things: after this, what is stored is used. */
const PATIENCE_MS = 10_000;
const PARALLEL = 6;

/** What a file's address is now, with its query, which is not stored; `undefined` where it cannot be told. */
export type UrlOf = (id: string, url: string) => URL | undefined;

export interface CheckOptions {
  readonly policy: Revalidation;
  readonly urlOf: UrlOf;
  readonly signal: AbortSignal | undefined;
}

/** Notes that a model is used, and compares its files where it is time to. @throws storageFailed, aborted */
export async function checkModel(
  context: StoreContext,
  model: ModelOfStore,
  { policy, urlOf, signal }: CheckOptions,
): Promise<void> {
  const { disk, now, locks } = context;
  const before = await onDisk(() => readModelRecord(disk, model.id));
  const sinceMs = now() - (before?.checkedAt ?? 0);
  const due = policy === 'always' || (policy === 'daily' && (sinceMs >= DAY_MS || sinceMs < 0)); // the clock was set back
  const files = due ? ((await onDisk(() => readCatalog(context))).get(model.id)?.files ?? []) : [];
  const answered = files.length > 0 && (await compareAll(context, files, { urlOf, signal }));
  throwIfAborted(signal);
  const checkedAt = answered || before === undefined ? now() : before.checkedAt;
  await onDisk(() =>
    locks.hold(lockNames.model(model.id), async () => {
      const current = await readModelRecord(disk, model.id); // pinned meanwhile, perhaps
      const { address, title } = model;
      const record: ModelRecord = { address, title, pinned: current?.pinned ?? false, usedAt: now(), checkedAt };
      await unlessFull(() => writeRecord(disk, names.model(model.id), record));
    }),
  );
}

/** @returns whether the server answered for all of them */
async function compareAll(
  context: StoreContext,
  files: readonly StoredFile[],
  { urlOf, signal }: Pick<CheckOptions, 'urlOf' | 'signal'>,
): Promise<boolean> {
  const patience = new AbortController();
  const end = (): void => patience.abort();
  const timer = setTimeout(end, PATIENCE_MS);
  signal?.addEventListener('abort', end);
  const queue = [...files];
  let answered = true;
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      try {
        await compare(context, file, { urlOf, signal: patience.signal });
      } catch {
        answered = false; // no network, no permission, no patience: what is stored is used
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  clearTimeout(timer);
  signal?.removeEventListener('abort', end);
  return answered;
}

/** Marks a stored file that the server has in another version, and forgets an absence that is none any more. */
async function compare(
  context: StoreContext,
  { id, record }: StoredFile,
  { urlOf, signal }: Pick<CheckOptions, 'urlOf'> & { readonly signal: AbortSignal },
): Promise<void> {
  const { disk, http, locks } = context;
  if (record === undefined || record.kind === 'derived') return;
  if (record.kind === 'file' && (record.fixed || record.stale)) return;
  const url = urlOf(id, record.url);
  if (url === undefined) return;
  const answer = await probe({ deps: { ...http, sleep: () => Promise.resolve() }, url, signal }, 1);
  const same =
    record.kind === 'absent'
      ? answer.kind === 'absent'
      : answer.kind !== 'absent' && agrees(record.version, answer.version);
  if (same) return;
  await locks.hold(
    lockNames.download(id),
    () =>
      onDisk(async () => {
        const now = await readFileRecord(disk, id);
        if (now?.kind === 'absent') return removeRecord(disk, names.file(id));
        if (now?.kind === 'file' && now.data === (record.kind === 'file' ? record.data : undefined)) {
          await writeRecord(disk, names.file(id), { ...now, stale: true });
        }
      }),
    { signal },
  );
}
