/** @file Runs inside the browser: a Darkroom, and the store of pictures itself, for image-store.test.ts to drive. */
import { createIndexedDbDriver } from '../../src/assets/image-drivers.js';
import { createImagePins } from '../../src/assets/image-pins.js';
import { createImageStore, type ImageStore } from '../../src/assets/image-store.js';
import type { ImageReference } from '../../src/request/request.js';
import { createDarkroom, DarkroomError } from '../../src/index.js';

const codeOf = (error: unknown): string => (error instanceof DarkroomError ? error.code : String(error));

/** Opaque pixels that no two neighbours share. */
function pixels(width: number, height: number): ImageData {
  const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) => (i % 4 === 3 ? 255 : (i * 47) % 251));
  return new ImageData(data, width, height);
}

async function pixelsOf(blob: Blob): Promise<readonly number[]> {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none' });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  if (context === null) throw new Error('no 2d context');
  context.drawImage(bitmap, 0, 0);
  return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data];
}

/** The same picture in everything that a page may hold it in. */
async function everyForm(): Promise<Readonly<Record<string, ImageReference>>> {
  const data = pixels(9, 6);
  const canvas = Object.assign(document.createElement('canvas'), { width: 9, height: 6 });
  canvas.getContext('2d')?.putImageData(data, 0, 0);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'));
  if (blob === null) throw new Error('no PNG');
  const url = URL.createObjectURL(blob);
  const image = Object.assign(new Image(), { src: url });
  const uri = canvas.toDataURL('image/png');
  const file = new File([blob], 'a.png');
  const bitmap = await createImageBitmap(data);
  return { data, canvas, blob, file, bitmap, image, url, uri, base64: uri.slice(uri.indexOf(',') + 1) };
}

const darkroom = createDarkroom({ backend: 'wasm' });

/** Uploads the picture in every form. @returns for each form what was kept, pixel by pixel */
async function uploadEveryForm() {
  const kept: Record<string, readonly number[]> = {};
  for (const [form, image] of Object.entries(await everyForm())) {
    const { imageUUID } = await darkroom.imageUpload({ image });
    kept[form] = await pixelsOf(await darkroom.images.read(imageUUID));
  }
  return { kept, drawn: [...pixels(9, 6).data] };
}

async function guideOf(inputImage: string) {
  const guide = await darkroom.controlNetPreprocess({ inputImage, outputFormat: 'PNG', outputType: 'base64Data' });
  return { base64: guide.guideImageBase64Data, input: guide.inputImageUUID, uuid: guide.guideImageUUID };
}

/** The store as the worker makes it, with a limit. */
function storeOf(limitBytes: number): ImageStore {
  return createImageStore({
    driver: createIndexedDbDriver(),
    pins: createImagePins(navigator.locks),
    limitBytes: () => Promise.resolve(limitBytes),
    now: () => Date.now(),
  });
}

const put = (limitBytes: number, bytes: number) => {
  const imageUUID = crypto.randomUUID();
  const picture = { imageUUID, mime: 'image/png', width: 1, height: 1 };
  return storeOf(limitBytes)
    .put(picture, new Uint8Array(bytes))
    .then((stored) => ({ imageUUID, ...stored }));
};

const bench = {
  uploadEveryForm,
  guideOf,
  put,
  /** Many tabs at once, each in a transaction of its own. */
  putMany: (limitBytes: number, bytes: number, count: number) =>
    Promise.all(Array.from({ length: count }, () => put(limitBytes, bytes))),
  pin: async (imageUUID: string) => void (await storeOf(1e9).pin([imageUUID])),
  list: async () => (await storeOf(1e9).list()).map(({ imageUUID, bytes }) => ({ imageUUID, bytes })),
  clear: () => darkroom.images.clear(),
  read: (imageUUID: string) => darkroom.images.read(imageUUID).then((blob) => blob.size, codeOf),
  upload: (image: string) => darkroom.imageUpload({ image }).then(({ imageUUID }) => imageUUID, codeOf),
  /** Where the browser has no room for a picture until `needed` others are deleted in the same transaction. */
  async putIntoFullDisk(limitBytes: number, bytes: number, needed: number) {
    const deleted = new WeakMap<IDBTransaction, number>();
    let refused = 0;
    const prototype = IDBObjectStore.prototype;
    // Called with `apply` below.
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const { put: putInto, delete: deleteFrom } = prototype;
    prototype.delete = function (key) {
      if (this.name === 'data') deleted.set(this.transaction, (deleted.get(this.transaction) ?? 0) + 1);
      return deleteFrom.apply(this, [key]);
    };
    prototype.put = function (...args) {
      if (this.name === 'data' && (deleted.get(this.transaction) ?? 0) < needed) {
        refused++;
        throw new DOMException('No room.', 'QuotaExceededError');
      }
      return putInto.apply(this, args);
    };
    try {
      const stored = await put(limitBytes, bytes);
      return { ...stored, refused };
    } finally {
      Object.assign(prototype, { put: putInto, delete: deleteFrom });
    }
  },
  /** Where IndexedDB is refused. */
  async putWithoutDatabase() {
    Object.defineProperty(globalThis, 'indexedDB', { value: undefined });
    const store = storeOf(1e9);
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    const keep = (imageUUID: string) =>
      store.put({ imageUUID, mime: 'image/png', width: 1, height: 1 }, new Uint8Array(3));
    return { first: (await keep(one)).warnings, second: (await keep(two)).warnings, kept: (await store.list()).length };
  },
};
export type Bench = typeof bench;
Object.assign(globalThis, { bench });
document.body.dataset['ready'] = 'yes';
