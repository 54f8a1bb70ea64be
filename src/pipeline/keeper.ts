/** @file Keeps the pictures of one run in the image store, beside the run: what showed there is told at its end, and never fails a task. */
import type { ImageStore } from '../assets/image-store.js';
import type { PreProcessorType } from '../request/preprocessors.js';
import type { WireEvent } from './events.js';

/** A picture file to keep. */
export interface Keepable {
  readonly taskUUID: string;
  readonly imageUUID: string;
  readonly mime: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Of a guide, what drew it. */
  readonly preProcessorType?: PreProcessorType;
}

export interface Keeper {
  /** Starts to store a picture. */
  keep(picture: Keepable): void;
  /** Waits until everything is stored. @returns what is to be said, by UUID of the picture */
  settle(): Promise<ReadonlyMap<string, readonly string[]>>;
}

export function createKeeper(images: ImageStore, onEvent: (event: WireEvent) => void): Keeper {
  const warnings = new Map<string, readonly string[]>();
  let last: Promise<void> = Promise.resolve(); // one after the other, so that the first is the first to go
  const store = async ({ taskUUID, bytes, preProcessorType, ...picture }: Keepable): Promise<void> => {
    const { imageUUID, mime, width, height } = picture;
    const info = { imageUUID, mime, width, height, ...(preProcessorType && { preProcessorType }) };
    const { evicted, warnings: said } = await images.put(info, bytes);
    if (said.length > 0) warnings.set(imageUUID, said);
    if (evicted.length > 0) onEvent({ kind: 'evict', taskUUID, imageUUIDs: evicted });
  };
  return {
    keep(picture) {
      last = last.then(() => store(picture));
    },
    async settle() {
      await last;
      return warnings;
    },
  };
}
