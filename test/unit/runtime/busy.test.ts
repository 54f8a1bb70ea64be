/** @file That a thread says when it may be blocked: before each call and after it, whatever comes of it, and once for calls within calls. */
import { describe, expect, it } from 'vitest';
import { createBusy } from '../../../src/runtime/busy.js';
import { createLock } from '../../../src/runtime/lock.js';

/** What was said, in order, among what happened. */
function listen() {
  const heard: (boolean | string)[] = [];
  return { heard, busy: createBusy((is) => heard.push(is)) };
}

describe('busy', () => {
  it('is said around a call, also one that fails', async () => {
    const { heard, busy } = listen();
    expect(busy.call(() => heard.push('copy'))).toBe(2);
    await expect(busy.wait(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(() =>
      busy.call(() => {
        throw new Error('lost');
      }),
    ).toThrow('lost');
    expect(heard).toEqual([true, 'copy', false, true, false, true, false]);
  });

  it('is one for calls within calls and beside them', async () => {
    const { heard, busy } = listen();
    const outer = busy.wait(async () => {
      busy.call(() => heard.push('inner'));
      await Promise.resolve();
    });
    busy.call(() => heard.push('beside'));
    await outer;
    expect(heard).toEqual([true, 'inner', 'beside', false]);
  });

  it('is said of all work in a lock, not of what waits for its turn', async () => {
    const { heard, busy } = listen();
    const lock = createLock(busy);
    const works = ['create', 'run'].map((name) =>
      lock(() => {
        heard.push(name);
        return Promise.resolve();
      }),
    );
    expect(heard).toEqual([]);
    await Promise.all(works);
    expect(heard).toEqual([true, 'create', false, true, 'run', false]);
  });
});
