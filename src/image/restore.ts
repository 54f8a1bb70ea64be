/** @file Any file or text that may hold a request → that request. The one reader that pages need. May import base and the files beside it. */
import { parseInfotext } from './infotext.js';
import { restoreRequest, type Restored } from './parameters.js';
import { isPng } from './png-chunks.js';
import { readPngText } from './png-text.js';

/** More than a picture of 8192² pixels takes; larger files are not read at all. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/**
 * What a picture was made with: from a PNG file of Darkroom or of the many tools that write a `parameters` text, or from
 * such a text itself. `undefined` where there is nothing of the kind.
 * @param source a file (any file), or text.
 * @throws `invalidImage` for a PNG file that is damaged.
 * @example
 * const restored = await readPictureRequest(droppedFile);
 * if (restored) await darkroom.imageInference({ positivePrompt: '', ...restored.request });
 */
export async function readPictureRequest(source: Blob | string): Promise<Restored | undefined> {
  if (typeof source === 'string') return parseInfotext(source);
  if (source.size > MAX_FILE_BYTES) return undefined;
  if (!isPng(new Uint8Array(await source.slice(0, 8).arrayBuffer()))) return undefined;
  return restoreRequest(await readPngText(new Uint8Array(await source.arrayBuffer())));
}
