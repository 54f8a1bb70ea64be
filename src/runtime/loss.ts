/** @file Work that ends when its device is lost, although nobody answers any more. */

/** Runs `work`; rejects with the reason of the loss when that comes first. */
export type OrLost = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * For work on one device. `Promise.race` with the loss would do the same, but what is chained to a promise that does not settle is never freed:
 * the results of every run would stay as long as the device.
 * @param lost rejects with the reason when the device is lost; never resolves
 */
export function createOrLost(lost: Promise<never>): OrLost {
  const waiting = new Set<(reason: unknown) => void>();
  let loss: { readonly reason: unknown } | undefined;
  lost.catch((reason: unknown) => {
    loss = { reason };
    for (const reject of waiting) reject(reason);
    waiting.clear();
  });
  return async (work) => {
    if (loss !== undefined) throw loss.reason;
    let reject: (reason: unknown) => void = () => undefined;
    try {
      return await new Promise((resolve, refuse) => {
        reject = refuse;
        waiting.add(reject);
        work().then(resolve, reject);
      });
    } finally {
      waiting.delete(reject);
    }
  };
}
