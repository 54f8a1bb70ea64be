/** @file How fast this device has been with blocks up to now: bringing their weights, and computing. What is expected of it is told from that. */
import type { BlockWatch } from '../runtime/blocks.js';

/** What was measured; absent before anything was. */
export interface Rates {
  /** Of weights on the device, from where they are kept, conversion included. */
  readonly bytesPerSecond: number | undefined;
  /** Floating-point operations. */
  readonly flopsPerSecond: number | undefined;
}

/** Networks with blocks: what encodes the text, and what makes the picture. */
export type PacedNetwork = 'text' | 'image';

export interface Pace {
  /** To be told of one kind of block of a network. @param flops of a run of one of them; 0: their runs say nothing */
  watch(network: PacedNetwork, flops: number): BlockWatch;
  /** Of a network; where it has not been measured, of the other one. */
  rates(network: PacedNetwork): Rates;
}

/** Of what was measured before, this much counts beside a new block: the last twenty or so decide. */
const KEPT = 0.95;

/** @param now milliseconds */
export function createPace(now: () => number): Pace {
  const made = () => ({ bytes: createRate(), flops: createRate() });
  const networks = { text: made(), image: made() };
  /** When the device was last known to be done. */
  let idleSince = -Infinity;

  return {
    watch: (network, flops) => ({
      now,
      brought: (bytes, ms) => networks[network].bytes.add(bytes, ms),
      ran(from, to) {
        // Runs are given to the device before it is done with those before them.
        const busy = to - Math.max(from, idleSince);
        idleSince = Math.max(idleSince, to);
        if (flops > 0) networks[network].flops.add(flops, busy);
      },
    }),
    rates(network) {
      const [own, other] = [networks[network], networks[network === 'text' ? 'image' : 'text']];
      return {
        bytesPerSecond: own.bytes.perSecond() ?? other.bytes.perSecond(),
        flopsPerSecond: own.flops.perSecond() ?? other.flops.perSecond(),
      };
    },
  };
}

/** Something per second, of the recent past. */
function createRate(): { add(amount: number, ms: number): void; perSecond(): number | undefined } {
  let amounts = 0;
  let times = 0;
  return {
    add(amount, ms) {
      amounts = KEPT * amounts + amount;
      times = KEPT * times + Math.max(0, ms);
    },
    perSecond: () => (times > 0 ? (1000 * amounts) / times : undefined),
  };
}
