/** @file Memory that is read into again and again: fresh arrays cost the system a page fault every 4 KiB, and pile up faster than garbage is collected. */

export interface Room {
  /** At least so many bytes. What was given before may be overwritten from now on, but for the `keep` last. */
  of(bytes: number): Uint8Array<ArrayBuffer>;
}

/** @param keep how many of what was given last are still in use when the next is asked for; default none */
export function createRoom(keep = 0): Room {
  const memory = Array.from({ length: keep + 1 }, () => new Uint8Array(0));
  let turn = 0;
  return {
    of(bytes) {
      turn = (turn + 1) % memory.length;
      const old = memory[turn];
      if (old !== undefined && old.length >= bytes) return old;
      return (memory[turn] = new Uint8Array(bytes));
    },
  };
}
