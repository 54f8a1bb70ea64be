/** @file What runs in a worker of headless Chromium for `bench/convert.ts`: a conversion in the private file system, as the library does it. */
import { expose, proxy, type ProxyMarked } from 'comlink';
import type { KeptMatrices } from '../src/assets/converted/kept-matrices.js';
import type { FileTree } from '../src/assets/source.js';
import { createModelStore } from '../src/assets/store/model-store.js';
import { createOpfsDisk } from '../src/assets/store/opfs-disk.js';
import { storedSource } from '../src/assets/store/stored-source.js';
import {
  makeConversion,
  planConversion,
  PUBLISHED,
  readConversion,
  SPARSE_FILE,
  sparseHeader,
  type Conversion,
  type ConvertTask,
} from './convert-model.js';

/** What there is to do. */
export interface Plan {
  /** Of the file of holes. */
  readonly sourceBytes: number;
  /** That the site may use. */
  readonly quotaBytes: number;
  /** Of the model, and bytes of what is made of it if all are rounded. */
  readonly matrices: number;
  readonly allBytes: number;
  /** Of those, the ones that are rounded; their bytes as floats, and of what is made of them. */
  readonly chosen: number;
  readonly floatBytes: number;
  readonly bytes: number;
}

export interface ConvertBench {
  /** Makes the file of holes. */
  plan(): Promise<Plan>;
  /** Milliseconds. */
  convert(): Promise<number>;
  read(): Promise<number>;
}

async function openBench(_config: string, task: ConvertTask): Promise<ConvertBench> {
  const published: unknown = await (await fetch(`/${PUBLISHED}`)).json();
  const root = await navigator.storage.getDirectory();
  const disk = createOpfsDisk(root);
  const folder = await root.getDirectoryHandle('store', { create: true });
  const source: FileTree = {
    name: 'bench',
    async open(path) {
      const view = path === SPARSE_FILE ? await disk.view(path) : undefined;
      return view && storedSource(path, view, 'a file of holes');
    },
  };
  const store = createModelStore({
    openDisk: () => Promise.resolve({ kind: 'disk', disk: createOpfsDisk(folder) }),
    http: { fetch },
    estimate: () => navigator.storage.estimate(),
  });
  let conversion: Conversion | undefined;
  let kept: KeptMatrices | undefined;
  const timed = async (work: (planned: Conversion) => Promise<void>): Promise<number> => {
    if (conversion === undefined) throw new Error('plan() comes first');
    const start = performance.now();
    await work(conversion);
    return performance.now() - start;
  };
  return {
    async plan() {
      const { header, bytes: sourceBytes } = sparseHeader(published);
      const file = await disk.open(SPARSE_FILE);
      await file.truncate(sourceBytes); // takes no room on a disk that knows of holes
      await file.write(header, 0);
      await file.close();
      conversion = await planConversion(source, published, task);
      const { floatBytes, allBytes, matrices, layout } = conversion;
      const { quota = NaN } = await navigator.storage.estimate();
      return {
        sourceBytes,
        quotaBytes: quota,
        floatBytes,
        allBytes,
        matrices,
        bytes: layout.bytes,
        chosen: layout.matrices.length,
      };
    },
    convert: () => timed(async (planned) => void (kept = await makeConversion(store.beside('bench', source), planned))),
    read: () => timed(async (planned) => kept && readConversion(kept, planned)),
  };
}

/** What the page gets of the worker. */
export interface ConvertWorker {
  open(config: string, task: ConvertTask): Promise<ConvertBench & ProxyMarked>;
}

expose({ open: async (config, task) => proxy(await openBench(config, task)) } satisfies ConvertWorker);
