/** @file What is kept in the browser over visits, pictures and models: both are in the worker. May import base and the files beside it. */
import type { KeptImages, StoredModels } from './types.js';
import { unwrap, type WorkerLink } from './worker-link.js';

type Live = () => Promise<WorkerLink>;

export function keptImages(live: Live): KeptImages {
  return {
    list: async () => unwrap(await (await live()).call((worker) => worker.listImages())),
    async read(imageUUID) {
      const { info, data } = unwrap(await (await live()).call((worker) => worker.readImage(imageUUID)));
      return new Blob([data], { type: info.mime });
    },
    delete: async (imageUUID) => unwrap(await (await live()).call((worker) => worker.deleteImage(imageUUID))),
    clear: async () => unwrap(await (await live()).call((worker) => worker.clearImages())),
  };
}

export function storedModels(live: Live): StoredModels {
  return {
    list: async () => unwrap(await (await live()).call((worker) => worker.listModels())),
    status: async () => unwrap(await (await live()).call((worker) => worker.storeStatus())),
    delete: async (id) => unwrap(await (await live()).call((worker) => worker.deleteModel(id))),
    pin: async (id, pinned) => unwrap(await (await live()).call((worker) => worker.pinModel(id, pinned))),
    // Workers cannot ask.
    persist: async () => (await (navigator as Partial<Navigator>).storage?.persist?.()) ?? false,
  };
}
