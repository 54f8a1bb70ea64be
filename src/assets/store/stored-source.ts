/** @file A file of the store as a `ByteSource`: one that is there, and one that is brought when its bytes are first wanted. */
import { DarkroomError, fail, throwIfAborted } from '../../base/errors.js';
import { blobSource, checkRange } from '../byte-source.js';
import type { Found } from '../download/download.js';
import { publicUrl, type Call } from '../http.js';
import type { ByteSource } from '../source.js';
import { rangeSource } from '../url-tree.js';
import { onDisk } from './context.js';
import type { DiskView } from './disk.js';

/**
 * Reads that end before this byte do not bring the file: headers of weights lie there, so that what a file is, and whether it would fit,
 * is known before gigabytes are fetched.
 */
const PEEK_BYTES = 1 << 20;
/** A file up to this size comes whole: it is soon there, and all that is ever read of it might lie in its beginning. */
const SMALL_BYTES = 2 * PEEK_BYTES;

/**
 * A stored file that is found again where it was deleted while it was in use, as when the visitor clears the site's data.
 * @param again stores the same bytes once more; `undefined` where they cannot be had
 */
export function healingSource(
  source: ByteSource,
  again: (signal: AbortSignal | undefined) => Promise<ByteSource | undefined>,
): ByteSource {
  let current = source;
  let healing: Promise<ByteSource | undefined> | undefined;
  const heal = async (signal: AbortSignal | undefined): Promise<ByteSource | undefined> => {
    const mine = (healing ??= again(signal).finally(() => (healing = undefined)));
    const found = await mine;
    if (found !== undefined) current = found;
    return found;
  };
  return {
    ...source,
    async read(start, end, signal, onBytes, room) {
      const tried = current;
      try {
        return await tried.read(start, end, signal, onBytes, room);
      } catch (error) {
        if (!(error instanceof DarkroomError) || error.code !== 'invalidModelFile') throw error;
        const found = current === tried ? await heal(signal) : current; // another read may have found it
        if (found === undefined) throw error;
        return found.read(start, end, signal, onBytes, room);
      }
    },
    ...(source.blob === undefined
      ? {}
      : { blob: (start: number, end: number, signal?: AbortSignal) => blobOf(current, start, end, signal) }),
  };
}

async function blobOf(source: ByteSource, start: number, end: number, signal: AbortSignal | undefined): Promise<Blob> {
  return (await source.blob?.(start, end, signal)) ?? new Blob([new Uint8Array(await source.read(start, end, signal))]);
}

/** A stored file, whose bytes stay on the disk. @param identity tells its bytes from all others */
export function storedSource(name: string, view: DiskView, identity?: string): ByteSource {
  const { blob, bytes: size } = view;
  const read: ByteSource['read'] = async (start, end, signal, onBytes, room) => {
    checkRange(name, size, start, end);
    throwIfAborted(signal);
    const bytes = await (blob === undefined
      ? onDisk(() => view.read(start, end, room))
      : fromBrowser(name, () => view.read(start, end, room)));
    throwIfAborted(signal);
    onBytes?.(bytes.length);
    return bytes;
  };
  return { ...(blob && blobSource(name, blob)), name, size, read, identity: () => Promise.resolve(identity) };
}

/** @throws invalidModelFile when the file is no longer there */
async function fromBrowser<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const hint = 'It was deleted from the store while it was in use; run the task again.';
    throw fail('invalidModelFile', `${name} can no longer be read.`, { hint, cause });
  }
}

/**
 * A file that is not stored yet.
 * @param bring stores it and gives it back; called again if it failed
 */
export function comingSource(
  { deps, url }: Call,
  found: Exclude<Found, { readonly kind: 'whole' }> & { readonly size: number },
  bring: (signal: AbortSignal | undefined) => Promise<ByteSource>,
): ByteSource {
  const name = publicUrl(url);
  const { size } = found;
  const peek = peekSource({ deps, url }, found);
  let local: ByteSource | undefined;
  const whole = async (signal: AbortSignal | undefined): Promise<ByteSource> => {
    throwIfAborted(signal);
    local ??= await bring(signal);
    return local;
  };
  return {
    name,
    size,
    async read(start, end, signal, onBytes, room) {
      checkRange(name, size, start, end);
      throwIfAborted(signal);
      const peeks = size > SMALL_BYTES && end <= PEEK_BYTES;
      const from = local ?? (peeks ? peek : undefined) ?? (await whole(signal));
      return from.read(start, end, signal, onBytes, room);
    },
    async blob(start, end, signal) {
      checkRange(name, size, start, end);
      return blobOf(await whole(signal), start, end, signal);
    },
    download: async (signal) => void (await whole(signal)),
    isMissing: () => local === undefined,
    identity: async (signal) => local?.identity?.(signal),
  };
}

/** The beginning of a file, from the network. */
function peekSource(call: Call, found: Found): ByteSource | undefined {
  if (found.kind !== 'ranged') return undefined;
  const { size, head, version } = found;
  return rangeSource(call, { size, head, etag: version.etag }, { blockBytes: PEEK_BYTES, keep: 1 });
}
