/**
 * @file Text inside a PNG file (PNG specification, third edition, §11.3.3): tEXt (Latin-1), zTXt (the same, compressed) and
 * iTXt (UTF-8). May import base and the chunk format.
 */
import { fail } from '../base/errors.js';
import { inflate } from './deflate.js';
import { readChunks, writeChunk, type Chunk } from './png-chunks.js';

/** A text longer than this is not a set of parameters; 4 MB of characters at most are unpacked. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;
/** More texts than any tool writes, and of all of them together what is kept: each of a million can be packed a thousandfold. */
const MAX_TEXTS = 1000;
const MAX_KEPT = 64 * 1024 * 1024;

/** Whether every character is one that tEXt allows: printable Latin-1, and line feed. */
const TEXT_LATIN1 = /^[\n\x20-\x7e\xa0-\xff]*$/;
const KEYWORD = /^[\x21-\x7e\xa1-\xff](?:[\x20-\x7e\xa1-\xff]{0,77}[\x21-\x7e\xa1-\xff])?$/;

/**
 * One text chunk: tEXt where Latin-1 is enough (which every tool reads), else iTXt.
 * @param keyword 1–79 Latin-1 characters.
 * @throws `invalidImage` for a keyword that PNG does not allow.
 */
export function writeText(keyword: string, text: string): Uint8Array<ArrayBuffer> {
  if (!KEYWORD.test(keyword)) {
    throw fail('invalidImage', `PNG keyword ${JSON.stringify(keyword)}: expected 1 to 79 Latin-1 characters.`);
  }
  if (TEXT_LATIN1.test(text)) return writeChunk('tEXt', latin1(`${keyword}\0${text}`));
  const head = latin1(`${keyword}\0\0\0\0\0`); // no compression, no language, no translated keyword
  const body = new TextEncoder().encode(text);
  const data = new Uint8Array(head.length + body.length);
  data.set(head);
  data.set(body, head.length);
  return writeChunk('iTXt', data);
}

/**
 * Every text of a PNG file by keyword; of a repeated keyword the first one counts. Pixels are not unpacked.
 * @throws `invalidImage` when the file or one of its texts is damaged, or there is no end of them.
 */
export async function readPngText(bytes: Uint8Array<ArrayBuffer>): Promise<Readonly<Record<string, string>>> {
  const texts = new Map<string, string>();
  let count = 0;
  let kept = 0;
  for (const chunk of readChunks(bytes)) {
    const entry = await parseText(chunk);
    if (entry === undefined) continue;
    count++;
    kept += entry.text.length;
    if (count > MAX_TEXTS || kept > MAX_KEPT) {
      throw fail('invalidImage', `PNG has more than ${MAX_TEXTS} texts, or more than ${MAX_KEPT} characters of them.`);
    }
    if (!texts.has(entry.keyword)) texts.set(entry.keyword, entry.text);
  }
  return Object.fromEntries(texts);
}

interface TextEntry {
  readonly keyword: string;
  readonly text: string;
}

async function parseText({ type, data }: Chunk): Promise<TextEntry | undefined> {
  switch (type) {
    case 'tEXt': {
      const [keyword, text] = splitAtZero(data, type);
      return { keyword: fromLatin1(keyword), text: fromLatin1(text) };
    }
    case 'zTXt': {
      const [keyword, rest] = splitAtZero(data, type);
      return { keyword: fromLatin1(keyword), text: fromLatin1(await unpack(rest.subarray(1), rest[0], type)) };
    }
    case 'iTXt': {
      const [keyword, rest] = splitAtZero(data, type);
      const [, afterLanguage] = splitAtZero(rest.subarray(2), type);
      const [, text] = splitAtZero(afterLanguage, type);
      const utf8 = rest[0] === 1 ? await unpack(text, rest[1], type) : text;
      return { keyword: fromLatin1(keyword), text: new TextDecoder().decode(utf8) };
    }
    default:
      return undefined;
  }
}

function unpack(
  bytes: Uint8Array<ArrayBuffer>,
  method: number | undefined,
  type: string,
): Promise<Uint8Array<ArrayBuffer>> {
  if (method !== 0) throw fail('invalidImage', `PNG ${type}: compression method ${method}; expected 0.`);
  return inflate(bytes, MAX_TEXT_BYTES, `PNG ${type}`);
}

function splitAtZero(
  data: Uint8Array<ArrayBuffer>,
  type: string,
): readonly [before: Uint8Array<ArrayBuffer>, after: Uint8Array<ArrayBuffer>] {
  const at = data.indexOf(0);
  if (at < 0) throw fail('invalidImage', `PNG ${type}: expected a zero byte between its parts, got none.`);
  return [data.subarray(0, at), data.subarray(at + 1)];
}

function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Not TextDecoder: its "latin1" is windows-1252. */
function fromLatin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
