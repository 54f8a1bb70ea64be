/** @file Pictures that a running task uses, in this tab or another: they are not to go. Other tabs see them as Web Locks, which end with their tab. */

export interface ImagePins {
  /** Holds pictures until the returned function is called. */
  pin(imageUUIDs: readonly string[]): Promise<() => void>;
  /** Those that anyone holds. */
  held(): Promise<ReadonlySet<string>>;
}

const PREFIX = 'darkroom-image:';

/** @param locks where there are none (Node, pages without a secure origin), tabs do not see each other's */
export function createImagePins(locks: LockManager | undefined): ImagePins {
  const own = new Map<string, number>();
  const count = (imageUUID: string, change: number): void => {
    const left = (own.get(imageUUID) ?? 0) + change;
    if (left > 0) own.set(imageUUID, left);
    else own.delete(imageUUID);
  };
  return {
    async pin(imageUUIDs) {
      const releases = await Promise.all(
        imageUUIDs.map((imageUUID) => {
          count(imageUUID, 1);
          return hold(locks, PREFIX + imageUUID);
        }),
      );
      return () => {
        for (const imageUUID of imageUUIDs) count(imageUUID, -1);
        for (const release of releases) release();
      };
    },
    async held() {
      const { held = [] } = (await locks?.query()) ?? {};
      const others = held.flatMap(({ name = '' }) => (name.startsWith(PREFIX) ? [name.slice(PREFIX.length)] : []));
      return new Set([...own.keys(), ...others]);
    },
  };
}

/** A shared lock; several tabs may hold the same picture. */
function hold(locks: LockManager | undefined, name: string): Promise<() => void> {
  if (locks === undefined) return Promise.resolve(() => undefined);
  return new Promise((held) => {
    const request = locks.request(
      name,
      { mode: 'shared' },
      () => new Promise<void>((release) => held(() => release())),
    );
    request.catch(() => held(() => undefined)); // refused by the browser: the picture is held in this tab only
  });
}
