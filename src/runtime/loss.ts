/** @file Work that ends when its device is lost, although nobody answers any more. */

/** Runs `work`; rejects with the reason of a loss that comes first, once the work has ended too, or is given up. */
export type OrLost = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * How long work on a lost device is waited for. It mostly ends at once, with an error. Until then nothing else may enter ONNX Runtime: calls that are
 * suspended (JSPI, Asyncify) share one stack in WebAssembly's memory, and one that goes on after another has begun breaks the heap.
 */
const LAST_WAIT_MS = 5_000;

/**
 * For work on one device. `Promise.race` with the loss would do the same, but what is chained to a promise that does not settle is never freed:
 * the results of every run would stay as long as the device.
 * @param lost rejects with the reason when the device is lost; never resolves
 */
export function createOrLost(lost: Promise<never>, lastWaitMs = LAST_WAIT_MS): OrLost {
  const waiting = new Set<(reason: unknown) => void>();
  let loss: { readonly reason: unknown } | undefined;
  lost.catch((reason: unknown) => {
    loss = { reason };
    for (const hear of waiting) hear(reason);
    waiting.clear();
  });
  return (work) => {
    if (loss !== undefined) return rejected(loss.reason);
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const hear = (reason: unknown): void => {
        timer = setTimeout(() => reject(asError(reason)), lastWaitMs);
      };
      waiting.add(hear);
      const end = (): void => {
        clearTimeout(timer);
        waiting.delete(hear);
      };
      work().then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          end();
          reject(asError(loss === undefined ? error : loss.reason));
        },
      );
    });
  };
}

const rejected = (reason: unknown): Promise<never> => Promise.reject(asError(reason));

const asError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error(String(reason)));
