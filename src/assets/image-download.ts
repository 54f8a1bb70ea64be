/** @file A picture from an address, as bytes, with a limit on how many: http(s), and `blob:` addresses of the page. */
import { DarkroomError, fail, throwIfAborted } from '../base/errors.js';
import { publicUrl, type HttpDeps } from './http.js';

export interface ImageDownload {
  readonly deps: Pick<HttpDeps, 'fetch'>;
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
  throwIfAborted(signal);
  const { fetch } = deps; // browsers refuse it as a method of another object
  try {
    const response = await fetch(url, { signal: signal ?? null });
    if (!response.ok) {
      await response.body?.cancel();
      const { status } = response;
      throw notDownloaded(url, `the server answered ${status}`);
    }
    if (Number(response.headers.get('content-length') ?? 0) > limitBytes) {
      await response.body?.cancel();
      throw tooLarge(url, limitBytes);
    }
    return await readBytes(response, url, limitBytes);
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof DarkroomError) throw error;
    throw notDownloaded(url, reasonOf(error, url), error);
  }
}

async function readBytes(response: Response, url: URL, limitBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) {
    total += next.value.length;
    if (total > limitBytes) {
      await reader?.cancel();
      throw tooLarge(url, limitBytes);
    }
    chunks.push(next.value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
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
