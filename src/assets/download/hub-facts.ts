/**
 * @file What the Hugging Face Hub says a file is. A page never sees the headers of the Hub's redirect (`X-Linked-ETag`), so the SHA-256 of
 * Git LFS comes from `POST /api/models/{repo}/paths-info/{revision}` (https://huggingface.co/docs/hub/api).
 */
import { fields } from '../../base/fields.js';
import { parseHubUrl } from '../../models/hub.js';
import { send, type Call } from '../http.js';
import type { Expected } from './download.js';

/** A longer answer is not about one file. */
const ANSWER_LIMIT = 1 << 20;

/** Length and hash of a file on the Hub; nothing for other addresses, for files outside LFS, and when the Hub does not say. @throws aborted */
export async function hubFacts(call: Call): Promise<Expected> {
  const place = parseHubUrl(call.url.href);
  if (place?.path === undefined) return {};
  const url = new URL(`/api/models/${place.repo}/paths-info/${encodeURIComponent(place.revision)}`, call.url.origin);
  try {
    const incoming = await send(
      { ...call, url },
      {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ paths: [place.path] }),
      },
    );
    if (incoming.status !== 200) {
      incoming.cancel();
      return {};
    }
    return parseFacts(JSON.parse(await readText(incoming.pieces())), place.path);
  } catch (error) {
    if (call.signal?.aborted === true) throw error;
    return {}; // the download goes on without: its length is checked all the same
  }
}

async function readText(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of pieces) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > ANSWER_LIMIT) throw new Error('the answer is too long');
  }
  return text + decoder.decode();
}

function parseFacts(json: unknown, path: string): Expected {
  const list: readonly unknown[] = Array.isArray(json) ? json : [];
  for (const entry of list) {
    const f = fields(entry, 'paths-info');
    if (f.text('path', '') !== path || !f.has('lfs')) continue;
    const lfs = fields(f.raw('lfs'), 'paths-info');
    const sha256 = lfs.text('oid').toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(sha256)) continue;
    return { sha256, bytes: lfs.integer('size', undefined, { min: 0, max: Number.MAX_SAFE_INTEGER }) };
  }
  return {};
}

/** Whether an address can never mean other bytes: a file of the Hub at a commit. */
export function isFixed(url: URL): boolean {
  return /^[0-9a-f]{40}$/.test(parseHubUrl(url.href)?.revision ?? '');
}
