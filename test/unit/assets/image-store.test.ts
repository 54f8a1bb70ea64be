/** @file The store of pictures: what goes when there is no room, what never goes, and what is said when something fails. (IndexedDB: test/browser.) */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { createMemoryDriver, type ImageDriver, type ImageInfo } from '../../../src/assets/image-drivers.js';
import { createImagePins } from '../../../src/assets/image-pins.js';
import {
  chooseEvicted,
  createImageStore,
  defaultLimitBytes,
  type ImageStore,
} from '../../../src/assets/image-store.js';

const uuid = (n: number): string => `6ba7b810-9dad-41d1-80b4-${String(n).padStart(12, '0')}`;
const PICTURE = { mime: 'image/png', width: 4, height: 2 };

interface Setup {
  readonly driver?: ImageDriver;
  readonly limit?: number;
  readonly locks?: LockManager;
}

/** A store whose clock goes on by one with each call. */
function setUp({ driver = createMemoryDriver(), limit = 100, locks }: Setup = {}): ImageStore {
  let time = 0;
  return createImageStore({
    driver,
    pins: createImagePins(locks),
    limitBytes: () => Promise.resolve(limit),
    now: () => ++time,
  });
}

const put = (store: ImageStore, n: number, bytes: number) =>
  store.put({ imageUUID: uuid(n), ...PICTURE }, new Uint8Array(bytes).fill(n));
const kept = async (store: ImageStore): Promise<readonly string[]> =>
  (await store.list()).map(({ imageUUID }) => imageUUID);

describe('a kept picture', () => {
  it('comes back as it was, whatever became of the array, and in any capitals', async () => {
    const store = setUp();
    const data = Uint8Array.of(1, 2, 3);
    expect(await store.put({ imageUUID: uuid(0xa).toUpperCase(), ...PICTURE }, data)).toEqual({
      evicted: [],
      warnings: [],
    });
    data.fill(0);
    const { info, data: read } = await store.get(uuid(0xa).toUpperCase());
    expect([...read]).toEqual([1, 2, 3]);
    expect(info).toEqual({ imageUUID: uuid(0xa), ...PICTURE, bytes: 3, createdAt: 1, lastUsed: 2 });
    read.fill(9);
    expect([...(await store.get(uuid(0xa))).data]).toEqual([1, 2, 3]);
  });

  it('is listed by its last use, can be deleted, and all of them', async () => {
    const store = setUp();
    for (const n of [1, 2, 3]) await put(store, n, 5);
    await store.get(uuid(1));
    expect(await kept(store)).toEqual([1, 3, 2].map(uuid));
    expect([await store.delete(uuid(3)), await store.delete(uuid(3))]).toEqual([true, false]);
    expect(await kept(store)).toEqual([1, 2].map(uuid));
    await store.clear();
    expect(await kept(store)).toEqual([]);
    await expect(store.get(uuid(1))).rejects.toMatchObject({
      code: 'imageNotFound',
      hint: expect.any(String) as string,
    });
  });
});

describe('when there is no room', () => {
  it('those not used for the longest time go, and that is said', async () => {
    const store = setUp();
    for (const n of [1, 2, 3]) await put(store, n, 30);
    await store.get(uuid(1));
    const { evicted, warnings } = await put(store, 4, 50);
    expect(evicted).toEqual([uuid(2), uuid(3)]);
    expect(warnings).toEqual([`2 kept pictures not used for long were deleted to make room: ${uuid(2)}, ${uuid(3)}.`]);
    expect(await kept(store)).toEqual([uuid(4), uuid(1)]);
  });

  it('what a task uses never goes, until it ends', async () => {
    const store = setUp();
    for (const n of [1, 2]) await put(store, n, 50);
    const [unpin, unpinToo] = [await store.pin([uuid(1).toUpperCase()]), await store.pin([uuid(1)])];
    expect((await put(store, 3, 50)).evicted).toEqual([uuid(2)]);
    unpin();
    expect((await put(store, 4, 50)).evicted).toEqual([uuid(3)]);
    unpinToo();
    expect((await put(store, 5, 50)).evicted).toEqual([uuid(1)]);
  });

  it('a picture larger than everything is not kept, and nothing goes for it', async () => {
    const store = setUp();
    await put(store, 1, 50);
    const { evicted, warnings } = await put(store, 2, 101);
    expect(evicted).toEqual([]);
    expect(warnings).toEqual([expect.stringMatching(`was not kept, so later requests cannot name ${uuid(2)}: it has`)]);
    expect(await kept(store)).toEqual([uuid(1)]);
  });

  it('the choice keeps within the limit, takes the oldest, and spares what is held', () => {
    const info = fc.record({ bytes: fc.nat(50), lastUsed: fc.nat(1000), held: fc.boolean() });
    fc.assert(
      fc.property(fc.array(info, { maxLength: 12 }), fc.nat(50), fc.nat(300), (images, bytes, limit) => {
        const infos = images.map((image, n): ImageInfo => ({ ...PICTURE, imageUUID: uuid(n), createdAt: 0, ...image }));
        const held = new Set(infos.filter((_, n) => images[n]?.held).map(({ imageUUID }) => imageUUID));
        const gone = new Set(chooseEvicted(infos, { imageUUID: uuid(99), bytes }, limit, held));
        const [out, left] = [infos.filter((i) => gone.has(i.imageUUID)), infos.filter((i) => !gone.has(i.imageUUID))];
        const free = left.filter(({ imageUUID }) => !held.has(imageUUID));
        expect([...gone].some((one) => held.has(one))).toBe(false);
        const total = left.reduce((sum, i) => sum + i.bytes, bytes);
        if (free.length > 0) expect(total).toBeLessThanOrEqual(limit);
        const newestGone = Math.max(-1, ...out.map(({ lastUsed }) => lastUsed));
        expect(free.every(({ lastUsed }) => lastUsed >= newestGone)).toBe(true);
        // Not one more than needed: with the last that went, it would be too much.
        const last = out.toSorted((a, b) => a.lastUsed - b.lastUsed).at(-1);
        if (last !== undefined) expect(total + last.bytes).toBeGreaterThan(limit);
      }),
    );
  });
});

describe('what fails', () => {
  const failing = (name: string, message: string): Error => Object.assign(new Error(message), { name });

  it('a place that does not work is memory, which is said once', async () => {
    const broken: ImageDriver = {
      ...createMemoryDriver(),
      list: () => Promise.reject(failing('SecurityError', 'Not allowed here.')),
    };
    const store = setUp({ driver: broken });
    expect((await put(store, 1, 5)).warnings).toEqual([
      'Pictures are kept in memory only, until this page is closed: Not allowed here.',
    ]);
    expect((await put(store, 2, 5)).warnings).toEqual([]);
    expect((await store.get(uuid(1))).data).toHaveLength(5);
  });

  it('a browser that gives less than it said: more go, until the new one fits', async () => {
    const memory = createMemoryDriver();
    let room = 70;
    const tight: ImageDriver = {
      ...memory,
      async put(image, choose) {
        const gone = new Set(choose(await memory.list()));
        const left = (await memory.list()).filter(({ imageUUID }) => !gone.has(imageUUID));
        const total = left.reduce((sum, { bytes }) => sum + bytes, image.info.bytes);
        if (total > room) throw failing('QuotaExceededError', 'Full.');
        return memory.put(image, () => [...gone]);
      },
    };
    const store = setUp({ driver: tight });
    for (const n of [1, 2, 3]) await put(store, n, 20);
    const { evicted, warnings } = await put(store, 4, 20);
    expect(evicted.length).toBeGreaterThan(0);
    expect(warnings).toHaveLength(1);
    expect(await kept(store)).toContain(uuid(4));
    room = 0;
    expect((await put(store, 5, 20)).warnings).toEqual([expect.stringMatching(/was not kept.*: Full\./)]);
  });

  it('any other error is a warning, never a rejection', async () => {
    const store = setUp({
      driver: { ...createMemoryDriver(), put: () => Promise.reject(new Error('The disk is gone.')) },
    });
    expect(await put(store, 1, 5)).toEqual({
      evicted: [],
      warnings: [`The picture was not kept, so later requests cannot name ${uuid(1)}: The disk is gone.`],
    });
  });

  it('a store that cannot be read has no pictures, and says why', async () => {
    const store = setUp({ driver: { ...createMemoryDriver(), get: () => Promise.reject(new Error('Damaged.')) } });
    await expect(store.get(uuid(1))).rejects.toMatchObject({
      code: 'imageNotFound',
      message: expect.stringMatching(/cannot be read \(Damaged\)/) as string,
    });
  });
});

describe('pins of other tabs', () => {
  it('are seen through Web Locks, and end with their task', async () => {
    const locks = fakeLocks();
    const [mine, theirs] = [createImagePins(locks), createImagePins(locks)];
    const unpin = await theirs.pin([uuid(1), uuid(2)]);
    expect(await mine.held()).toEqual(new Set([uuid(1), uuid(2)]));
    unpin();
    await vi.waitFor(async () => expect(await mine.held()).toEqual(new Set()));
  });

  it('a browser that refuses locks still holds them for itself', async () => {
    const locks = { ...fakeLocks(), request: () => Promise.reject(new Error('no')) } as unknown as LockManager;
    const pins = createImagePins(locks);
    const unpin = await pins.pin([uuid(1)]);
    expect(await pins.held()).toEqual(new Set([uuid(1)]));
    unpin();
    expect(await pins.held()).toEqual(new Set());
  });
});

/** As much of `navigator.locks` as is used: shared locks, each held until its callback's promise settles. */
function fakeLocks(): LockManager {
  const held: { readonly name: string }[] = [];
  return {
    request: async (name: string, _options: LockOptions, work: () => Promise<unknown>) => {
      const lock = { name };
      held.push(lock);
      try {
        return await work();
      } finally {
        held.splice(held.indexOf(lock), 1);
      }
    },
    query: () => Promise.resolve({ held: [{ name: 'someone else' }, ...held], pending: [] }),
  } as unknown as LockManager; // the one form of `request` that is called
}

describe('the limit', () => {
  const storage = (quota: number | undefined) =>
    ({ estimate: () => Promise.resolve(quota === undefined ? {} : { quota }) }) as StorageManager;
  it.each([
    ['half a gigabyte where nothing is known', undefined, 512e6],
    ['a tenth of a small quota', storage(1e9), 1e8],
    ['no more than half a gigabyte', storage(1e12), 512e6],
    ['half a gigabyte where the browser does not say', storage(undefined), 512e6],
  ])('is %s', async (_name, manager, expected) => {
    expect(await defaultLimitBytes(manager)).toBe(expected);
  });
});
