/** @file A picture from an address, as bytes, with a limit on how many: http(s), and `blob:` addresses of the page. */
import { DarkroomError, fail, throwIfAborted } from '../base/errors.js';
import { concatBytes } from './download/bytes.js';
import { publicUrl, send, type HttpDeps } from './http.js';

export interface ImageDownload {
  readonly deps: Pick<HttpDeps, 'fetch' | 'stallMs'>;
  readonly url: URL;
  readonly limitBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The whole file. It is asked for once: a picture is small, and whoever waits can try again.
 * @throws downloadFailed, aborted, and `invalidImage` for more than `limitBytes`
 */
export async function downloadImage({
  deps,
  url,
  limitBytes,
  signal,
}: ImageDownload): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const incoming = await send({ deps, url, signal });
    const { status, headers } = incoming;
    const refusal =
      status < 200 || status > 299
        ? notDownloaded(url, `the server answered ${status}`)
        : Number(headers.get('content-length') ?? 0) > limitBytes
          ? tooLarge(url, limitBytes)
          : undefined;
    if (refusal === undefined) return await readBytes(incoming.pieces(), url, limitBytes);
    incoming.cancel();
    throw refusal;
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof DarkroomError) throw error;
    throw notDownloaded(url, reasonOf(error, url), error);
  }
}

async function readBytes(
  pieces: AsyncIterable<Uint8Array<ArrayBuffer>>,
  url: URL,
  limitBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const all: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for await (const piece of pieces) {
    total += piece.length;
    if (total > limitBytes) throw tooLarge(url, limitBytes);
    all.push(piece);
  }
  return concatBytes(all);
}

function notDownloaded(url: URL, reason: string, cause?: unknown): DarkroomError {
  return fail('downloadFailed', `${publicUrl(url)} could not be downloaded: ${reason}.`, {
    hint: 'Check the address; another site must allow this page to read it (CORS). Or send the picture itself, as a file or a data URI.',
    ...(cause === undefined ? {} : { cause }),
  });
}

function tooLarge(url: URL, limitBytes: number): DarkroomError {
  return fail('invalidImage', `${publicUrl(url)} has more than ${Math.round(limitBytes / 2 ** 20)} MB.`);
}

/** The browser only says "Failed to fetch", also where the other site does not allow this page to read. */
function reasonOf(error: unknown, url: URL): string {
  if (url.protocol === 'blob:') return 'the page has released this address, or it belongs to another page';
  return error instanceof Error ? error.message : String(error);
}
