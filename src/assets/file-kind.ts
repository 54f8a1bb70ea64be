/** @file Says what a file is that should have been safetensors or JSON, from its first bytes, so that the message helps. */
import { fail, type ErrorCode } from '../base/errors.js';
import type { ByteSource, FileTree, OnBytes } from './source.js';

/** Enough of a file's beginning for {@link foreignFile}. */
export const HEAD_BYTES = 256;

interface Kind {
  readonly matches: (head: Uint8Array, text: string) => boolean;
  /** Continues "NAME is …". */
  readonly what: string;
  readonly hint: string;
  readonly code?: ErrorCode;
}

const NO_PICKLE =
  'Pickle files can run code when they are opened, so they are refused. Use the .safetensors file of this model.';
const FETCH_AGAIN = 'Open the address in a browser to see what the server says; it may want a login or another path.';

const KINDS: readonly Kind[] = [
  {
    matches: (head) => head.length === 0,
    what: 'an empty file',
    hint: 'The download or copy did not finish: get it again.',
  },
  {
    matches: (_, text) => text.startsWith('PK\x03\x04'),
    what: 'a zip archive, as PyTorch writes for .ckpt, .pt and .bin (pickle) files',
    hint: NO_PICKLE,
    code: 'pickleRefused',
  },
  {
    // opcode PROTO and a protocol number: how every pickle since protocol 2 begins
    matches: ([proto, version = 0]) => proto === 0x80 && version >= 2 && version <= 5,
    what: 'a Python pickle (an old .ckpt, .pt or .bin file)',
    hint: NO_PICKLE,
    code: 'pickleRefused',
  },
  {
    matches: (_, text) => text.startsWith('GGUF'),
    what: 'a GGUF file',
    hint: 'Quantised GGUF files cannot be read here. Use the .safetensors file of this model.',
    code: 'unsupportedModel',
  },
  {
    matches: (_, text) => text.startsWith('version https://git-lfs'),
    what: 'a Git LFS pointer (a few lines of text that stand for the file), not the file itself',
    hint: 'Run "git lfs pull" in the folder, or download the file itself.',
  },
  { matches: (_, text) => /^\s*<(!doctype|html|head|body)/i.test(text), what: 'an HTML page', hint: FETCH_AGAIN },
  { matches: (_, text) => /^\s*</.test(text), what: 'an XML or HTML document', hint: FETCH_AGAIN },
  { matches: (_, text) => /^\s*[{[]/.test(text), what: 'a JSON text', hint: FETCH_AGAIN },
  { matches: (_, text) => /^[\t\n\r\x20-\x7e]+$/.test(text), what: 'a text', hint: FETCH_AGAIN },
];

/** The error for a file whose first bytes (at most {@link HEAD_BYTES} are looked at) are not those of `expected`. */
export function foreignFile(name: string, bytes: Uint8Array, expected: string, code: ErrorCode): Error {
  const head = bytes.subarray(0, HEAD_BYTES);
  const kind = recognise(head);
  if (kind === undefined) return fail(code, `${name} is not ${expected}, and not a kind of file that is known.`);
  return fail(kind.code ?? code, `${name} is ${kind.what}, not ${expected}.`, { hint: kind.hint });
}

/** The file at `path`, or `undefined` where there is none, or only a page: what many servers answer, with status 200, for a missing file. */
export async function openUnlessMarkup(
  tree: FileTree,
  path: string,
  signal?: AbortSignal,
  onBytes?: OnBytes,
): Promise<ByteSource | undefined> {
  const source = await tree.open(path, signal, onBytes);
  if (source === undefined) return undefined;
  return isMarkup(await source.read(0, Math.min(source.size, HEAD_BYTES), signal)) ? undefined : source;
}

/** True for HTML or XML. */
export function isMarkup(bytes: Uint8Array): boolean {
  return /^\s*</.test(latin1(bytes.subarray(0, HEAD_BYTES)));
}

function recognise(head: Uint8Array): Kind | undefined {
  const text = latin1(head);
  return KINDS.find(({ matches }) => matches(head, text));
}

/** One character per byte; a UTF-8 byte order mark is dropped. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes).replace(/^\xef\xbb\xbf/, '');
}
