/**
 * @file Pictures that were uploaded or made, by UUID, so that later requests can name them: kept over visits, up to a limit; those that were
 * not used for the longest time go first. Storing never fails a task: what went wrong is said in a sentence.
 */
import { fail } from '../base/errors.js';
import {
  createMemoryDriver,
  type ChooseEvicted,
  type ImageDriver,
  type ImageInfo,
  type KeptImage,
} from './image-drivers.js';
import type { ImagePins } from './image-pins.js';

export type { ImageInfo } from './image-drivers.js';

/** What came of storing a picture. */
export interface Stored {
  /** UUIDs that lead nowhere now. */
  readonly evicted: readonly string[];
  /** One sentence each: pictures that had to go, why this one was not kept, that pictures are kept in memory only. */
  readonly warnings: readonly string[];
}

export interface ImageStore {
  /** Keeps a picture. Never rejects. */
  put(image: Omit<ImageInfo, 'bytes' | 'createdAt' | 'lastUsed'>, data: Uint8Array<ArrayBuffer>): Promise<Stored>;
  /** The picture, which counts as used now. @throws imageNotFound */
  get(imageUUID: string): Promise<KeptImage>;
  /** Holds pictures against going until the returned function is called. */
  pin(imageUUIDs: readonly string[]): Promise<() => void>;
  /** The last used first. */
  list(): Promise<readonly ImageInfo[]>;
  /** Whether there was such a picture. */
  delete(imageUUID: string): Promise<boolean>;
  clear(): Promise<void>;
}

export interface ImageStoreDeps {
  /** Tried first. Where it fails at first use, pictures are kept in memory, which is said once. */
  readonly driver: ImageDriver;
  readonly pins: ImagePins;
  /** The most bytes of all files together; asked once. */
  readonly limitBytes: () => Promise<number>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The most that is taken where nobody says otherwise: half a gigabyte, or a tenth of what the browser gives this site. */
const DEFAULT_LIMIT_BYTES = 512e6;
const SHARE_OF_QUOTA = 0.1;

/** @param storage of the browser; absent in Node */
export async function defaultLimitBytes(storage: StorageManager | undefined): Promise<number> {
  const estimate = await storage?.estimate().catch(() => undefined);
  return Math.min(DEFAULT_LIMIT_BYTES, (estimate?.quota ?? Infinity) * SHARE_OF_QUOTA);
}

export function createImageStore({ driver, pins, limitBytes, now }: ImageStoreDeps): ImageStore {
  const place = choosePlace(driver);
  let limit: Promise<number> | undefined;
  let saidMemory = false;

  /** That pictures are lost with the page, once. */
  const memoryWarning = async (): Promise<readonly string[]> => {
    const { reason } = await place();
    if (reason === undefined || saidMemory) return [];
    saidMemory = true;
    return [`Pictures are kept in memory only, until this page is closed: ${reason}.`];
  };

  const store = async (image: KeptImage): Promise<Stored> => {
    const most = await (limit ??= limitBytes());
    const { imageUUID, bytes } = image.info;
    if (bytes > most) {
      const reason = `it has ${megabytes(bytes)}, and all pictures together may have ${megabytes(most)}`;
      return { evicted: [], warnings: [notKept(imageUUID, reason)] };
    }
    const held = await pins.held();
    const { driver: chosen } = await place();
    const evicted = await putWithinQuota(chosen, image, most, held);
    return { evicted, warnings: evicted.length === 0 ? [] : [evictionWarning(evicted)] };
  };

  return {
    async put(image, data) {
      const [createdAt, imageUUID] = [now(), image.imageUUID.toLowerCase()];
      const info = { ...image, imageUUID, bytes: data.length, createdAt, lastUsed: createdAt };
      try {
        const { evicted, warnings } = await store({ info, data });
        return { evicted, warnings: [...(await memoryWarning()), ...warnings] };
      } catch (error) {
        return { evicted: [], warnings: [notKept(imageUUID, reasonOf(error))] };
      }
    },
    async get(imageUUID) {
      const { driver: chosen } = await place();
      const found = await chosen.get(imageUUID.toLowerCase(), now()).catch((cause: unknown) => {
        throw notFound(imageUUID, `the pictures of this site cannot be read (${reasonOf(cause)})`, cause);
      });
      if (found === undefined) throw notFound(imageUUID, 'no picture that was made or uploaded here has it');
      return found;
    },
    pin: (imageUUIDs) => pins.pin(imageUUIDs.map((imageUUID) => imageUUID.toLowerCase())),
    list: async () => [...(await (await place()).driver.list())].sort((a, b) => b.lastUsed - a.lastUsed),
    delete: async (imageUUID) => (await place()).driver.delete(imageUUID.toLowerCase()),
    clear: async () => (await place()).driver.clear(),
  };
}

interface Place {
  readonly driver: ImageDriver;
  /** Why it is memory although something lasting was wanted. */
  readonly reason?: string;
}

/** The driver if it works, else memory; tried once. */
function choosePlace(driver: ImageDriver): () => Promise<Place> {
  let chosen: Promise<Place> | undefined;
  return () =>
    (chosen ??= driver.list().then(
      () => ({ driver }),
      (error: unknown) => ({ driver: createMemoryDriver(), reason: reasonOf(error) }),
    ));
}

/** Each try may use half of what the one before it did. */
const TRIES = 6;

/** The browser may give less than it said, or less than the limit: then more pictures go, and it is tried again. */
async function putWithinQuota(
  driver: ImageDriver,
  image: KeptImage,
  limit: number,
  held: ReadonlySet<string>,
): Promise<readonly string[]> {
  let most = limit;
  for (let tried = 1; ; tried++) {
    const choose: ChooseEvicted = (kept) => {
      if (tried > 1) most = Math.min(most, totalBytes(kept) + image.info.bytes) / 2;
      return chooseEvicted(kept, image.info, most, held);
    };
    try {
      return await driver.put(image, choose);
    } catch (error) {
      if (!isQuotaExceeded(error) || tried === TRIES || most < image.info.bytes) throw error;
    }
  }
}

/**
 * The pictures that go so that another one fits within `limit` bytes: those not used for the longest time first, none that is held. A
 * picture that comes again under its UUID takes its own place.
 */
export function chooseEvicted(
  kept: readonly ImageInfo[],
  coming: Pick<ImageInfo, 'imageUUID' | 'bytes'>,
  limit: number,
  held: ReadonlySet<string>,
): readonly string[] {
  const others = kept.filter(({ imageUUID }) => imageUUID !== coming.imageUUID);
  const evicted: string[] = [];
  let total = totalBytes(others) + coming.bytes;
  for (const { imageUUID, bytes } of others.toSorted((a, b) => a.lastUsed - b.lastUsed)) {
    if (total <= limit) break;
    if (held.has(imageUUID)) continue;
    evicted.push(imageUUID);
    total -= bytes;
  }
  return evicted;
}

function totalBytes(images: readonly ImageInfo[]): number {
  return images.reduce((sum, { bytes }) => sum + bytes, 0);
}

function isQuotaExceeded(error: unknown): boolean {
  return error instanceof Error && error.name === 'QuotaExceededError';
}

function notFound(imageUUID: string, reason: string, cause?: unknown): Error {
  return fail('imageNotFound', `There is no picture ${imageUUID} here: ${reason}.`, {
    hint: 'It may have made room for newer ones, or belong to another site or browser. Upload it again, or send the picture itself.',
    ...(cause === undefined ? {} : { cause }),
  });
}

function notKept(imageUUID: string, reason: string): string {
  return `The picture was not kept, so later requests cannot name ${imageUUID}: ${reason}.`;
}

function evictionWarning(evicted: readonly string[]): string {
  const [what, were] = evicted.length === 1 ? ['picture', 'was'] : ['pictures', 'were'];
  return `${evicted.length} kept ${what} not used for long ${were} deleted to make room: ${evicted.join(', ')}.`;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') || error.name : String(error);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
