/** @file Work on a device that is lost meanwhile: it is waited for, but not for ever, and the loss is what is said. */
import { describe, expect, it } from 'vitest';
import { createOrLost } from '../../../src/runtime/loss.js';

const LOSS = new Error('lost');

function make(): { readonly orLost: ReturnType<typeof createOrLost>; readonly lose: () => void } {
  let lose: () => void = () => undefined;
  const lost = new Promise<never>((_, reject) => (lose = () => reject(LOSS)));
  lost.catch(() => undefined);
  return { orLost: createOrLost(lost, 50), lose };
}

const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe('orLost', () => {
  it('gives what the work gives, its error too', async () => {
    const { orLost } = make();
    expect(await orLost(() => Promise.resolve(7))).toBe(7);
    const own = new Error('own');
    await expect(orLost(() => Promise.reject(own))).rejects.toBe(own);
  });

  it('ends with the loss, but not before the work has ended', async () => {
    const { orLost, lose } = make();
    let fail: (error: Error) => void = () => undefined;
    let ended = false;
    const running = orLost(() => new Promise<void>((_, reject) => (fail = reject)));
    running.catch(() => (ended = true));
    lose();
    await soon();
    expect(ended).toBe(false);
    fail(new Error('its own words'));
    await expect(running).rejects.toBe(LOSS);
  });

  it('gives up work that never ends', async () => {
    const { orLost, lose } = make();
    const running = orLost(() => new Promise<void>(() => undefined));
    lose();
    await expect(running).rejects.toBe(LOSS);
  });

  it('begins nothing after the loss', async () => {
    const { orLost, lose } = make();
    lose();
    await soon();
    let begun = false;
    const late = orLost(() => {
      begun = true;
      return Promise.resolve();
    });
    await expect(late).rejects.toBe(LOSS);
    expect(begun).toBe(false);
  });
});
