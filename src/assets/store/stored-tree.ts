/** @file A model's files through the store: what is stored is read from there, what is not is fetched, and stored. */
import { DarkroomError, fail, throwIfAborted } from '../../base/errors.js';
import type { DerivedFiles } from '../derived-files.js';
import { HEAD_BYTES, type Expected, type Found } from '../download/download.js';
import { probe } from '../download/probe.js';
import { publicUrl } from '../http.js';
import type { ByteSource, OnBytes } from '../source.js';
import { isWeightFile } from '../url-tree.js';
import { bring } from './bring.js';
import { readCatalog, sweep } from './catalog.js';
import { checkModel, type Revalidation, type UrlOf } from './check.js';
import { lockNames, onDisk, type FileOfModel, type ModelOfStore, type StoreContext } from './context.js';
import { derive } from './derive.js';
import { unlessFull } from './disk.js';
import { identityOf, identityOfDerived } from './identity.js';
import { takeLease } from './locks.js';
import {
  hasData,
  hasOtherHash,
  names,
  readAnyRecord,
  readDerivedRecord,
  readFileRecord,
  type AbsentRecord,
  type DerivedRecord,
  type FileRecord,
} from './records.js';
import { removeRecord, writeRecord } from './slots.js';
import { comingSource, healingSource, storedSource } from './stored-source.js';

/** How often a file is fetched again that is deleted as soon as it is there. */
const TRIES = 3;

export interface ReaderOptions {
  readonly context: StoreContext;
  readonly model: ModelOfStore;
  readonly policy: Revalidation;
  readonly urlOf: UrlOf;
  readonly expectedOf: (url: URL) => Expected;
}

/** Opens files of one model, and keeps what it has opened from being deleted until it is closed. */
export interface ModelReader extends DerivedFiles {
  open(url: URL, signal?: AbortSignal, onBytes?: OnBytes): Promise<ByteSource | undefined>;
  close(): void;
}

export function createReader({ context, model, policy, urlOf, expectedOf }: ReaderOptions): ModelReader {
  const leases = new Map<string, () => Promise<void>>();
  let checked: Promise<void> | undefined;
  let weights: Promise<boolean> | undefined;
  let closed = false;

  /** Once, by whoever opens first; again if that one was stopped. */
  const check = async (signal: AbortSignal | undefined): Promise<void> => {
    const mine = (checked ??= checkModel(context, model, { policy, urlOf, signal }));
    try {
      await mine;
    } catch (error) {
      if (checked === mine) checked = undefined;
      throwIfAborted(signal);
      if (policy === 'never') throw error; // nobody else's signal was in it
      await checkModel(context, model, { policy: 'never', urlOf, signal });
    }
  };
  /** Whether weights of it are there. Before, it cannot be used without a network, and what was absent may be what it lacked. */
  const hasWeights = (): Promise<boolean> =>
    (weights ??= onDisk(async () => {
      const { files = [] } = (await readCatalog(context)).get(model.id) ?? {};
      return files.some(({ record }) => record?.kind === 'file' && isWeightFile(record.url));
    }));
  const lease = async (data: string, signal: AbortSignal | undefined): Promise<void> => {
    if (leases.has(data)) return;
    const release = await takeLease(context.locks, lockNames.data(data), signal);
    if (closed || leases.has(data)) await release();
    else leases.set(data, release);
  };
  const release = async (data: string): Promise<void> => {
    const end = leases.get(data);
    leases.delete(data);
    await end?.();
  };
  const source = async (
    record: FileRecord | DerivedRecord,
    signal: AbortSignal | undefined,
  ): Promise<ByteSource | undefined> => {
    await lease(record.data, signal);
    return onDisk(async () => {
      const view = await context.disk.view(record.data);
      if (view?.bytes !== record.bytes) return undefined;
      return record.kind === 'derived'
        ? storedSource(`What was made of ${model.title}`, view)
        : storedSource(record.url, view, `sha256:${record.sha256}`);
    });
  };

  /** What is stored under `id`, with its lease. A record whose data is gone or cut is removed: the file is fetched again. */
  const stored = async <R extends FileRecord | AbsentRecord | DerivedRecord>(
    id: string,
    read: (disk: StoreContext['disk'], id: string) => Promise<R | undefined>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly record: R; readonly source: ByteSource | undefined } | undefined> => {
    const { disk, locks } = context;
    const record = await onDisk(() => read(disk, id));
    if (record === undefined || !hasData(record)) return record && { record, source: undefined };
    const found = await source(record, signal);
    const again = await onDisk(() => readAnyRecord(disk, id)); // deleted or replaced before the lease was there?
    if (!hasData(again) || again.data !== record.data) return stored(id, read, signal);
    if (found !== undefined) return { record, source: found };
    await locks.hold(lockNames.download(id), () => onDisk(() => removeRecord(disk, names.file(id))), { signal });
    return undefined;
  };

  /** Fetched once more where it goes under our hands; another version would not fit to what was read of this one. */
  const lasting = (file: FileOfModel, { sha256 }: FileRecord, found: ByteSource): ByteSource =>
    healingSource(found, async (signal) => {
      await checkModel(context, model, { policy: 'never', urlOf, signal }); // what was noted of it is gone, too
      const same = { ...file, expected: { ...file.expected, sha256 } };
      const there = await stored(file.id, readFileRecord, signal);
      const mine = there?.record.kind === 'file' && there.record.sha256 === sha256 ? there.source : undefined;
      return mine ?? fetchFile(same, signal, undefined).catch(noneIfOther);
    });

  const fetchFile = async (
    file: FileOfModel,
    signal: AbortSignal | undefined,
    onBytes: OnBytes | undefined,
  ): Promise<ByteSource | undefined> => {
    const { id, url } = file;
    const call = { deps: context.http, url, signal };
    const found = await probe(call, HEAD_BYTES);
    if (found.kind === 'absent') {
      await noteAbsence(context, file);
      return undefined;
    }
    const fetched = async (now: Found, later: AbortSignal | undefined): Promise<ByteSource> => {
      for (let tried = 1; ; tried++) {
        await bring(context, file, now, later);
        const there = await stored(id, readFileRecord, later);
        if (there?.record.kind === 'file' && there.source !== undefined)
          return lasting(file, there.record, there.source);
        // deleted by another tab between the two
        if (tried === TRIES) throw fail('storageFailed', `${publicUrl(url)} was stored and is not there.`);
      }
    };
    if (found.kind === 'whole') {
      onBytes?.(found.bytes.length);
      return fetched(found, signal);
    }
    const { size } = found;
    if (size === undefined) return fetched(found, signal); // its length is known when it is there
    return comingSource({ deps: context.http, url }, { ...found, size }, (later) => fetched(found, later));
  };

  return {
    async open(url, signal, onBytes) {
      throwIfAborted(signal);
      await check(signal);
      const id = identityOf(url);
      const expected = expectedOf(url);
      const held = new Set(leases.keys());
      const known = await stored(id, readFileRecord, signal);
      const file = { id, url, model, expected };
      const old = known?.record.kind === 'file' ? known.record : undefined;
      const there = known?.source && old && lasting(file, old, known.source);
      const doubtful = known?.record.kind === 'absent' && !(await hasWeights());
      if (known !== undefined && !doubtful && !isOutdated(known.record, expected)) return there;
      try {
        const coming = await fetchFile(file, signal, onBytes);
        if (old !== undefined && !held.has(old.data)) await release(old.data); // nobody reads the old version here
        return coming;
      } catch (error) {
        throwIfAborted(signal);
        if (there === undefined || (old !== undefined && hasOtherHash(old, expected))) throw error;
        return there; // the server has another version, which cannot be had now
      }
    },
    async keep(file, signal) {
      throwIfAborted(signal);
      await check(signal);
      const id = identityOfDerived(model.id, file.what);
      // under another key it is not opened: what is held cannot be deleted
      const ofThisKey: typeof readDerivedRecord = async (disk, name) => {
        const record = await readDerivedRecord(disk, name);
        return record?.key === file.key ? record : undefined;
      };
      const make = async (later: AbortSignal | undefined): Promise<ByteSource> => {
        for (let tried = 0; ; tried++) {
          const there = await stored(id, ofThisKey, later);
          if (there?.source !== undefined) return there.source;
          // deleted by another tab between the two
          if (tried === TRIES) throw fail('storageFailed', `${file.what} was stored and is not there.`);
          await derive(context, { id, model, file }, later);
        }
      };
      return healingSource(await make(signal), make);
    },
    close() {
      closed = true;
      const held = [...leases];
      leases.clear();
      void Promise.all(held.map(([, release]) => release()))
        .then(() =>
          sweep(
            context,
            held.map(([data]) => data),
          ),
        ) // deleted or replaced while it was read
        .catch(() => undefined); // the next start sweeps
    },
  };
}

/** `undefined` for a file that turned out to be another than the one that was expected. */
function noneIfOther(error: unknown): undefined {
  if (!(error instanceof DarkroomError) || error.code !== 'hashMismatch') throw error;
}

/** Whether a stored file is not the one that is wanted: the server has another version, or another hash is asked for. */
function isOutdated(record: FileRecord | AbsentRecord, expected: Expected): boolean {
  return record.kind === 'file' && (record.stale || hasOtherHash(record, expected));
}

async function noteAbsence(context: StoreContext, { id, url, model }: FileOfModel): Promise<void> {
  const { disk, locks } = context;
  const record: AbsentRecord = { kind: 'absent', model: model.id, url: publicUrl(url) };
  await locks.tryHold(lockNames.download(id), () =>
    onDisk(() => unlessFull(() => writeRecord(disk, names.file(id), record))),
  );
}
