/** @file A file tree under a URL, read by byte ranges; a server without ranges costs one whole download per file. Keeps nothing between opens. */
import { fail, throwIfAborted } from '../base/errors.js';
import { blobSource, checkRange, memorySource, pathSegments } from './byte-source.js';
import { downloadFailed, fetchLength, fetchRange, fetchWhole, publicUrl, type Call, type HttpDeps } from './http.js';
import { readAhead, type ReadAheadOptions } from './read-ahead.js';
import type { ByteSource, FileTree, OnBytes } from './source.js';

export type { HttpDeps } from './http.js';

/** The first request brings this much: all of most configs, and the header of most weights. */
const FIRST_BYTES = 65536;

/** Endings of the names of weight files; what cannot be read is said when it is opened. */
const WEIGHTS = /\.(safetensors|ckpt|pth?|bin|gguf)$/i;

export function isWeightFile(path: string): boolean {
  return WEIGHTS.test(path);
}

/** Opens the file at a URL; `undefined` where there is none. */
export type OpenUrl = (url: URL, signal?: AbortSignal, onBytes?: OnBytes) => Promise<ByteSource | undefined>;

/**
 * The tree of the files whose URLs begin with `address`; its query (a token, say) is sent with every request and shown in no message.
 * An address that ends like a weight file is that file, and what lies beside it. Opening a file costs one request; 404 and 410
 * mean that it is not there.
 * @throws invalidModelFile when `address` is not an http(s) URL. Opening and reading: downloadFailed, accessDenied, aborted
 */
export function urlTree(address: string, deps: HttpDeps): FileTree {
  return treeAt(address, (url, signal, onBytes) => openUrl({ deps, url, signal, onBytes }));
}

/** {@link urlTree} with another way to open a URL. @throws invalidModelFile when `address` is not an http(s) URL */
export function treeAt(address: string, open: OpenUrl): FileTree {
  const url = parseUrl(address);
  const file = lastSegment(url);
  if (file === undefined) return folderAt(url, open);
  const asFile = fileAt(url, file, open);
  return isWeightFile(file) ? asFile : { ...folderAt(url, open), asFile };
}

function folderAt(root: URL, open: OpenUrl): FileTree {
  return {
    name: publicUrl(root),
    open: async (path, signal, onBytes) => {
      const url = new URL(root);
      url.pathname = [root.pathname.replace(/\/+$/, ''), ...pathSegments(path).map(encodeURIComponent)].join('/');
      return open(url, signal, onBytes);
    },
  };
}

/** The folder that the file at `url` is in. */
function fileAt(url: URL, file: string, open: OpenUrl): FileTree {
  const parent = new URL(url);
  parent.pathname = url.pathname.slice(0, url.pathname.lastIndexOf('/'));
  const folder = folderAt(parent, open);
  return {
    name: folder.name.replace(/\/$/, ''),
    file,
    open: (path, signal, onBytes) => (path === file ? open(url, signal, onBytes) : folder.open(path, signal, onBytes)),
  };
}

/** `undefined` where the path ends in a slash. */
function lastSegment({ pathname }: URL): string | undefined {
  const segment = pathname.slice(pathname.lastIndexOf('/') + 1);
  try {
    return segment === '' ? undefined : decodeURIComponent(segment);
  } catch {
    return segment; // a percent sign that encodes nothing
  }
}

/** The tree of files that each have a URL of their own, keyed by path; `data:` URLs, which bundlers make of small files, are among them. */
export function addressTree(name: string, files: Readonly<Record<string, string>>, deps: HttpDeps): FileTree {
  return treeOfAddresses(name, files, (url, signal, onBytes) => openUrl({ deps, url, signal, onBytes }));
}

/** {@link addressTree} with another way to open a URL. */
export function treeOfAddresses(name: string, files: Readonly<Record<string, string>>, openFile: OpenUrl): FileTree {
  const urls = new Map(Object.entries(files));
  return {
    name,
    open: async (path, signal, onBytes) => {
      const url = urls.get(pathSegments(path).join('/'));
      return url === undefined ? undefined : openFile(new URL(url), signal, onBytes);
    },
    list: () => Promise.resolve([...urls.keys()]),
  };
}

function parseUrl(prefix: string): URL {
  const url = URL.canParse(prefix) ? new URL(prefix) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url;
  const shown = prefix.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//');
  throw fail('invalidModelFile', `${JSON.stringify(shown)} is not an absolute http or https URL of a model's folder.`);
}

/** Opens the file at a URL; see {@link urlTree}. */
export async function openUrl(call: Call): Promise<ByteSource | undefined> {
  const name = publicUrl(call.url);
  const answer = await fetchRange(call, 0, FIRST_BYTES);
  switch (answer.kind) {
    case 'absent':
      return undefined;
    case 'whole':
      return blobSource(name, answer.blob);
    case 'part': {
      const { bytes, etag } = answer;
      // a shorter answer than asked for is the whole file; Content-Range may be hidden from a page of another origin
      const size = answer.total ?? (bytes.length < FIRST_BYTES ? bytes.length : await fetchLength(call));
      if (size === undefined) return blobSource(name, await fetchWhole(call));
      if (size <= bytes.length) return memorySource(name, bytes.subarray(0, size));
      return rangeSource(call, { size, head: bytes, etag });
    }
    default:
      return answer satisfies never;
  }
}

/** What is known of a file that is read by ranges. */
export interface Known {
  readonly size: number;
  /** The file's first bytes. */
  readonly head: Uint8Array;
  readonly etag: string | undefined;
}

/** A file on a server, read by ranges. @param ahead how much is read ahead */
export function rangeSource({ deps, url }: Call, known: Known, ahead?: ReadAheadOptions): ByteSource {
  const name = publicUrl(url);
  const { size, head } = known;
  const read: ByteSource['read'] = (start, end, signal, onBytes) =>
    fetchPart({ deps, url, signal, onBytes }, known, [start, end]);
  const blocks = readAhead({ name, size, read }, ahead);
  return {
    name,
    size,
    read: async (start, end, signal, onBytes) => {
      checkRange(name, size, start, end);
      throwIfAborted(signal);
      return end <= head.length ? head.subarray(start, end) : blocks.read(start, end, signal, onBytes);
    },
  };
}

async function fetchPart(call: Call, known: Known, [start, end]: readonly [number, number]): Promise<Uint8Array> {
  const answer = await fetchRange(call, start, end);
  if (answer.kind === 'whole' && answer.blob.size === known.size) {
    return new Uint8Array(await answer.blob.slice(start, end).arrayBuffer());
  }
  const { total = known.size, etag = known.etag } = answer.kind === 'part' ? answer : {};
  const same = total === known.size && (known.etag === undefined || etag === known.etag);
  if (answer.kind === 'part' && same && answer.bytes.length === end - start) return answer.bytes;
  throw downloadFailed(
    call.url,
    answer.kind === 'part' && same ? shortAnswer(answer.bytes.length, end - start) : CHANGED,
  );
}

const CHANGED = 'the file changed on the server while it was being read';

function shortAnswer(got: number, asked: number): string {
  return `the server sent ${got} of the ${asked} bytes asked for`;
}
