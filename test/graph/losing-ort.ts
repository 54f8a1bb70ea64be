/** @file ONNX Runtime on devices that are lost: at a chosen call everything made so far stops working, as after the loss of a GPU. */
import { faultyOrt, type FaultRecord } from './faulty-ort.js';
import type { LoadOrt } from '../../src/runtime/ort.js';

/** What has happened. */
export type LossRecord = Pick<FaultRecord, 'calls' | 'devices' | 'losses' | 'alive'>;

/**
 * Each load is a new device. A call that `isLoss` names by its number (from 1, over all devices) rejects with `deviceLost`, and so does every
 * later one on that device; releasing there fails too.
 * @param how `before`: the call does nothing; `during`: its work is done, but its answer is lost
 */
export function losingOrt(isLoss: (call: number) => boolean, record: LossRecord, how: 'before' | 'during'): LoadOrt {
  const all: FaultRecord = Object.assign(record, { arrays: 0, left: 0 });
  return faultyOrt(({ kind, number }) => (kind !== 'array' && isLoss(number) ? { loses: how } : undefined), all);
}
