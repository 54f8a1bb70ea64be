/**
 * @file The store of models: files that were downloaded stay, and are read from the disk ever after. What it needs of the browser is
 * handed in, so that tests can hand in something else.
 */
import { fail } from '../../base/errors.js';
import type { DerivedFiles } from '../derived-files.js';
import type { Expected } from '../download/download.js';
import type { Tuning } from '../download/transfer.js';
import { publicUrl, type HttpDeps } from '../http.js';
import type { FileTree } from '../source.js';
import { openUrl, treeAt, treeOfAddresses, urlTree } from '../url-tree.js';
import { bytesOf, deleteModel, isInUse, readCatalog, sweep, sweepAbandoned } from './catalog.js';
import type { Revalidation, UrlOf } from './check.js';
import { lockNames, onDisk, type ModelOfStore, type StoreContext } from './context.js';
import type { DiskKind } from './disk.js';
import { createDownloadEvents, type Channel, type OnDownload } from './events.js';
import { identityOf } from './identity.js';
import { createLocks, type Locks } from './locks.js';
import type { DiskChoice } from './open-disk.js';
import { names, readModelRecord, type FileRecord } from './records.js';
import { prepareDisk } from './schema.js';
import { writeRecord } from './slots.js';
import { createReader, type ModelReader } from './stored-tree.js';

/** What the store needs from outside. */
export interface StoreDeps {
  /** Opens the disk; called once, on first use. */
  readonly openDisk: () => Promise<DiskChoice>;
  readonly http: HttpDeps;
  /** What keeps tabs apart; absent: locks of this process. */
  readonly locks?: Locks;
  /** Tells other tabs of downloads; absent: they are not told. */
  readonly channel?: Channel;
  /** `navigator.storage.estimate`; absent: room is not asked for beforehand. */
  readonly estimate?: () => Promise<StorageEstimate>;
  readonly revalidate?: Revalidation;
  readonly tuning?: Partial<Tuning>;
}

export interface StoreStatus {
  /** `none`: nothing is stored, models are read from the network by ranges; `reason` says why. */
  readonly kind: DiskKind | 'none';
  readonly reason?: string;
  /** Bytes that the site uses, and may use, where the browser tells. */
  readonly usageBytes?: number;
  readonly quotaBytes?: number;
}

/** A stored model: all files below one address. */
export interface StoredModel {
  /** For {@link ModelStore.delete} and {@link ModelStore.pin}; {@link ModelStore.idOf} makes it of an address. */
  readonly id: string;
  /** URL without query. */
  readonly address: string;
  /** As it was last asked for, an AIR say. */
  readonly title: string;
  /** Bytes of its whole files, and of those that are on their way or were left half-way. */
  readonly bytes: number;
  readonly partialBytes: number;
  /** Of `bytes`, those that were not downloaded but made here: weights in fewer bits. */
  readonly derivedBytes: number;
  readonly files: readonly StoredModelFile[];
  readonly pinned: boolean;
  /** In this or another tab. */
  readonly inUse: boolean;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
}

export interface StoredModelFile extends Pick<FileRecord, 'url' | 'bytes' | 'sha256' | 'storedAt'> {
  /** Whether its hash is the one that the Hub or a card says. */
  readonly verified: boolean;
}

export interface ModelName {
  /** What people call the model; default its address. */
  readonly title?: string;
  /** Path within the tree → what the file must be. */
  readonly expected?: Readonly<Record<string, Expected>>;
}

export interface ModelStore {
  /**
   * The tree below an http(s) address, as `urlTree`, whose files are stored when they are read. Short files are stored when opened;
   * of long ones the first MiB (the header) is read by range, anything else brings the whole file first. What was opened is kept from
   * deletion until `close()` of the tree.
   * @throws invalidModelFile when `address` is not an http(s) URL. Opening and reading: downloadFailed, accessDenied, hashMismatch,
   *   storageFull, storageFailed, aborted
   */
  tree(address: string, name?: ModelName): FileTree;
  /** The same of files that each have an address (`addressTree`); `data:` URLs are not stored. */
  addresses(name: string, files: Readonly<Record<string, string>>): FileTree;
  /** A tree whose files stay where they are: what is made of them is stored, as a model of this name. */
  beside(name: string, tree: FileTree): FileTree;
  status(): Promise<StoreStatus>;
  list(): Promise<readonly StoredModel[]>;
  /** Deletes a model. What is being read of it goes when its readers close; nothing happens where there is none. */
  delete(id: string): Promise<void>;
  /** A pinned model is never deleted to make room. */
  pin(id: string, pinned: boolean): Promise<void>;
  idOf(address: string): string;
  /** Hears of all downloads, those of other tabs included; returns how to stop. */
  subscribe(listener: OnDownload): () => void;
}

/**
 * Makes a store. Cheap: the disk is opened when it is first needed.
 * @example
 * const store = createModelStore({ openDisk: () => openBrowserDisk({ storage: navigator.storage, caches }), http: { fetch } });
 * const tree = store.tree('https://example.org/models/dreams/', { title: 'dreams' });
 */
export function createModelStore(deps: StoreDeps): ModelStore {
  const { http, locks = createLocks(), channel, estimate, revalidate = 'daily', tuning = {} } = deps;
  const now = (): number => Math.round((http.now ?? Date.now)());
  const events = createDownloadEvents(now, channel);
  let opening: Promise<Opened> | undefined;

  const open = (): Promise<Opened> =>
    (opening ??= openContext(deps.openDisk, (disk) => ({ disk, locks, http, tuning, now, estimate, events })));

  /** A tree whose files are opened by a reader; without a disk, straight from the network. */
  const treeOf = (model: ModelOfStore, options: TreeOptions): FileTree => {
    let reader: ModelReader | undefined;
    const readerIn = (context: StoreContext): ModelReader =>
      (reader ??= createReader({ context, model, policy: revalidate, ...options }));
    const tree = options.make(async (url, signal, onBytes) => {
      const opened = await open();
      const stored = opened.kind === 'disk' && /^https?:$/.test(url.protocol);
      if (!stored) return openUrl({ deps: http, url, signal, onBytes });
      return readerIn(opened.context).open(url, signal, onBytes);
    });
    const derived: DerivedFiles = {
      async keep(file, signal) {
        const opened = await open();
        if (opened.kind === 'none') throw fail('storageFailed', opened.reason);
        return readerIn(opened.context).keep(file, signal);
      },
    };
    const close = (): void => {
      reader?.close();
      reader = undefined;
      tree.close?.();
    };
    const more = { derived, close };
    return { ...tree, ...more, ...(tree.asFile === undefined ? {} : { asFile: { ...tree.asFile, ...more } }) };
  };

  return {
    tree(address, { title, expected = {} } = {}) {
      const { name } = urlTree(address, http); // checks the address
      const url = new URL(address);
      const model = { id: identityOf(url), address: publicUrl(url), title: title ?? publicUrl(url) };
      const expectedAt = new Map(Object.entries(expected).map(([path, must]) => [fileBelow(name, path), must]));
      return treeOf(model, {
        make: (openFile) => treeAt(address, openFile),
        urlOf: (id, stored) => withQuery(id, stored, url.search),
        expectedOf: (file) => expectedAt.get(publicUrl(file)) ?? {},
      });
    },
    addresses(name, files) {
      const urls = new Map(Object.values(files).map((address) => [identityOf(new URL(address)), new URL(address)]));
      return treeOf(namedModel(name), {
        make: (openFile) => treeOfAddresses(name, files, openFile),
        urlOf: (id) => urls.get(id),
        expectedOf: () => ({}),
      });
    },
    beside: (name, tree) =>
      treeOf(namedModel(name), { make: () => tree, urlOf: () => undefined, expectedOf: () => ({}) }),
    async status() {
      const opened = await open();
      const { usage, quota } = (await estimate?.().catch(() => undefined)) ?? {};
      return {
        ...(opened.kind === 'disk' ? { kind: opened.context.disk.kind } : opened),
        ...(usage === undefined ? {} : { usageBytes: usage }),
        ...(quota === undefined ? {} : { quotaBytes: quota }),
      };
    },
    async list() {
      const opened = await open();
      return opened.kind === 'none' ? [] : onDisk(() => listModels(opened.context));
    },
    async delete(id) {
      const opened = await open();
      if (opened.kind === 'none') return;
      await onDisk(async () => {
        const files = (await readCatalog(opened.context)).get(id);
        if (files !== undefined) await deleteModel(opened.context, id, files);
      });
    },
    async pin(id, pinned) {
      const opened = await open();
      if (opened.kind === 'none') return;
      const { disk } = opened.context;
      await onDisk(() =>
        locks.hold(lockNames.model(id), async () => {
          const record = await readModelRecord(disk, id);
          if (record !== undefined) await writeRecord(disk, names.model(id), { ...record, pinned });
        }),
      );
    },
    idOf: (address) => identityOf(new URL(address)),
    subscribe: (listener) => events.subscribe(listener),
  };
}

/** A model whose files are not below one address. */
function namedModel(name: string): ModelOfStore {
  const url = new URL(`https://darkroom.invalid/${encodeURIComponent(name)}`);
  return { id: identityOf(url), address: name, title: name };
}

interface TreeOptions {
  readonly make: (open: ModelReader['open']) => FileTree;
  readonly urlOf: UrlOf;
  readonly expectedOf: (url: URL) => Expected;
}

type Opened =
  { readonly kind: 'disk'; readonly context: StoreContext } | { readonly kind: 'none'; readonly reason: string };

async function openContext(
  openDisk: StoreDeps['openDisk'],
  contextOf: (disk: StoreContext['disk']) => StoreContext,
): Promise<Opened> {
  try {
    const choice = await openDisk();
    if (choice.kind === 'none') return choice;
    const refusal = await prepareDisk(choice.disk);
    if (refusal !== undefined) return { kind: 'none', reason: refusal };
    const context = contextOf(choice.disk);
    await sweepAbandoned(context);
    await sweep(context);
    return { kind: 'disk', context };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { kind: 'none', reason: `The browser's storage failed: ${reason}` };
  }
}

async function listModels(context: StoreContext): Promise<readonly StoredModel[]> {
  const models = [...(await readCatalog(context))].map(async ([id, stored]): Promise<StoredModel> => {
    const { whole, derived, partial } = bytesOf(stored);
    const { model, files } = stored;
    const urls = files.map(
      ({ record, journal }) => (record?.kind === 'derived' ? undefined : record?.url) ?? journal?.url,
    );
    const address = model?.address ?? urls.find((url) => url !== undefined) ?? id;
    return {
      id,
      address,
      title: model?.title ?? address,
      bytes: whole,
      partialBytes: partial,
      derivedBytes: derived,
      files: files.flatMap(({ record }) => {
        if (record?.kind !== 'file') return [];
        const { url, bytes, sha256, storedAt, expected } = record;
        return [{ url, bytes, sha256, storedAt, verified: expected }];
      }),
      pinned: model?.pinned ?? false,
      inUse: await isInUse(context, stored),
      usedAt: model?.usedAt ?? 0,
    };
  });
  return (await Promise.all(models)).filter(({ bytes, partialBytes }) => bytes + partialBytes > 0);
}

/** The address of a stored file with the query of its model's, if that is how it was asked for. */
function withQuery(id: string, stored: string, search: string): URL | undefined {
  const url = new URL(stored);
  url.search = search;
  return identityOf(url) === id ? url : undefined;
}

/** `unet/x.json` below `https://a/b/` → `https://a/b/unet/x.json`. */
function fileBelow(root: string, path: string): string {
  return [root.replace(/\/+$/, ''), ...path.split('/').map(encodeURIComponent)].join('/');
}
