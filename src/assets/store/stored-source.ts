/** @file A file of the store as a `ByteSource`: one that is there, and one that is brought when its bytes are first wanted. */
import { fail, throwIfAborted } from '../../base/errors.js';
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
      const bytes = await whole(signal);
      return bytes.blob?.(start, end, signal) ?? new Blob([new Uint8Array(await bytes.read(start, end, signal))]);
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
