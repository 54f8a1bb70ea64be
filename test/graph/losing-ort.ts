/** @file ONNX Runtime on devices that are lost: at a chosen call everything made so far stops working, as after the loss of a GPU. */
import { fail } from '../../src/base/errors.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import type { LoadOrt, Ort } from '../../src/runtime/ort.js';

/** What has happened. */
export interface LossRecord {
  /** Sessions that were made and runs, of all devices. */
  calls: number;
  /** Devices that were opened. */
  devices: number;
  losses: number;
  /** Sessions that are alive on the last device. */
  alive: number;
}

/**
 * Each load is a new device. A call that `isLoss` names by its number (from 1, over all devices) rejects with `deviceLost`, and so does every
 * later one on that device; releasing there fails too.
 * @param how `before`: the call does nothing; `during`: its work is done, but its answer is lost
 */
export function losingOrt(isLoss: (call: number) => boolean, record: LossRecord, how: 'before' | 'during'): LoadOrt {
  return async (build) => {
    const ort = await loadOrtInNode(build);
    const device = { lost: false };
    record.devices++;
    record.alive = 0;
    const onDevice = async <T>(work: () => Promise<T>): Promise<T> => {
      const loses = isLoss(++record.calls) && !device.lost;
      if (loses) record.losses++;
      if (loses && how === 'before') device.lost = true;
      if (device.lost) throw fail('deviceLost', 'A device was lost on purpose.');
      const result = await work();
      if (loses) device.lost = true;
      if (device.lost) throw fail('deviceLost', 'A device was lost on purpose.');
      return result;
    };
    const create = async (...args: Parameters<typeof ort.InferenceSession.create>) => {
      const session = await onDevice(() => ort.InferenceSession.create(...args));
      record.alive++;
      const [run, release] = [session.run.bind(session), session.release.bind(session)];
      session.run = (feeds: Parameters<typeof run>[0]) => onDevice(() => run(feeds)); // outputs are never given in advance here
      session.release = async () => {
        record.alive--;
        await release();
        if (device.lost) throw new Error('Instance dropped.');
      };
      return session;
    };
    // Only this one form of `create` is called.
    return { ...ort, InferenceSession: { create } } as unknown as Ort;
  };
}
