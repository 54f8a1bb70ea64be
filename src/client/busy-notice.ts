/**
 * @file What the worker says of itself beside comlink's messages: whether it is in a call that may block it for minutes. Used by the worker (say)
 * and by the client (read). Imports nothing.
 */

/** Comlink leaves alone what has no `id`. */
export interface BusyNotice {
  readonly kind: 'darkroom-busy';
  readonly busy: boolean;
}

export function busyNotice(busy: boolean): BusyNotice {
  return { kind: 'darkroom-busy', busy };
}

/** What a message says, if it is such a notice. */
export function readBusyNotice(message: unknown): boolean | undefined {
  if (typeof message !== 'object' || message === null || !('kind' in message) || !('busy' in message)) return undefined;
  return message.kind === 'darkroom-busy' && typeof message.busy === 'boolean' ? message.busy : undefined;
}
