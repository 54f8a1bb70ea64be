/** @file The seed: random each time, or locked to what the field says. The last seed stays visible either way. */
import { find } from './dom.js';

export interface SeedControl {
  /** What to send: the text of the field, or nothing for a random seed. */
  value(): string | undefined;
  /** Shows the seed that was used, without locking it. */
  showUsed(seed: string): void;
  /** Puts a seed in and keeps it. */
  lock(seed: string): void;
}

export function createSeedControl(): SeedControl {
  const input = find('seed', HTMLInputElement);
  const button = find('seed-lock', HTMLButtonElement);
  let locked = false;

  function setLocked(to: boolean): void {
    locked = to;
    button.setAttribute('aria-pressed', String(to));
    button.textContent = to ? 'Locked' : 'Lock';
  }

  input.addEventListener('input', () => setLocked(input.value.trim() !== ''));
  button.addEventListener('click', () => {
    if (locked || input.value.trim() !== '') setLocked(!locked);
    else input.focus();
  });
  find('seed-random', HTMLButtonElement).addEventListener('click', () => {
    input.value = '';
    setLocked(false);
  });

  return {
    value: () => (locked ? input.value.trim() : undefined),
    showUsed(seed) {
      if (!locked) input.value = seed;
    },
    lock(seed) {
      input.value = seed;
      setLocked(true);
    },
  };
}
