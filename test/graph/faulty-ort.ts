/** @file ONNX Runtime on which chosen calls fail: for want of memory, with a trap, or because their device is lost there. */
import { fail } from '../../src/base/errors.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import type { LoadOrt, Ort } from '../../src/runtime/ort.js';

/** What has happened. */
export interface FaultRecord {
  /** Sessions that were made and runs, of all devices. */
  calls: number;
  /** Arrays of numbers for runs, of all devices. */
  arrays: number;
  /** Devices that were opened. */
  devices: number;
  losses: number;
  /** Sessions that are alive. */
  alive: number;
  /** Sessions of former devices that were still alive when another was opened. */
  left: number;
}

export const noFaults = (): FaultRecord => ({ calls: 0, arrays: 0, devices: 0, losses: 0, alive: 0, left: 0 });

export interface Call {
  readonly kind: 'session' | 'run' | 'array';
  /** From 1, over all devices: of the sessions and runs, or of the arrays. */
  readonly number: number;
  /** From 1. */
  readonly device: number;
  /** As `number`, of this device alone. */
  readonly onDevice: number;
}

/** `throws`: the call does nothing; `loses`: it does nothing, or what it did is lost, and so is everything on its device from then on. */
export type Fault = { readonly throws: Error } | { readonly loses: 'before' | 'during' };

/** Each load is a new device. On a lost one all calls reject with `deviceLost`, and releasing fails too. */
export function faultyOrt(faultAt: (call: Call) => Fault | undefined, record: FaultRecord): LoadOrt {
  return async (build) => {
    const ort = await loadOrtInNode(build);
    const device = { number: ++record.devices, lost: false, calls: 0, arrays: 0 };
    record.left += record.alive;
    record.alive = 0;
    const refuseLost = (): void => {
      if (device.lost) throw fail('deviceLost', 'A device was lost on purpose.');
    };
    const onDevice = async <T>(kind: Call['kind'], work: () => Promise<T>): Promise<T> => {
      const fault = faultAt({ kind, number: ++record.calls, device: device.number, onDevice: ++device.calls });
      refuseLost();
      if (fault !== undefined && 'throws' in fault) throw fault.throws;
      if (fault !== undefined) record.losses++;
      device.lost = fault?.loses === 'before';
      refuseLost();
      const result = await work();
      device.lost = fault !== undefined;
      refuseLost();
      return result;
    };
    const create = async (...args: Parameters<typeof ort.InferenceSession.create>) => {
      const session = await onDevice('session', () => ort.InferenceSession.create(...args));
      if (device.number === record.devices) record.alive++;
      const [run, release] = [session.run.bind(session), session.release.bind(session)];
      session.run = (feeds: Parameters<typeof run>[0]) => onDevice('run', () => run(feeds)); // outputs are never given in advance here
      session.release = async () => {
        if (device.number === record.devices) record.alive--;
        await release();
        if (device.lost) throw new Error('Instance dropped.');
      };
      return session;
    };
    const Tensor = new Proxy(ort.Tensor, {
      construct(target, args) {
        const fault = faultAt({
          kind: 'array',
          number: ++record.arrays,
          device: device.number,
          onDevice: ++device.arrays,
        });
        if (fault !== undefined && 'throws' in fault) throw fault.throws;
        return Reflect.construct(target, args) as object;
      },
    });
    // Only this one form of `create` is called.
    return { ...ort, Tensor, InferenceSession: { create } } as unknown as Ort;
  };
}
