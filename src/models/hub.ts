/** @file Addresses on the Hugging Face Hub: repo, revision and path ↔ URL. */
import { fail } from '../base/errors.js';
import type { Air } from './air.js';

const HUB = 'https://huggingface.co';
const HOSTS: readonly string[] = ['huggingface.co', 'www.huggingface.co', 'hf.co'];
/** First segments of the Hub's paths that are no owners. */
const NOT_OWNERS: readonly string[] = ['api', 'blog', 'collections', 'datasets', 'docs', 'models', 'papers', 'spaces'];

/** A place in a model repo. */
export interface HubPlace {
  /** `owner/repo`. */
  readonly repo: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** A folder or file within the repo; absent: the repo itself. */
  readonly path: string | undefined;
}

/** The address of the files: `https://huggingface.co/{owner}/{repo}/resolve/{revision}[/{path}]`. */
export function hubUrl({ repo, revision, path }: HubPlace): string {
  const segments = path === undefined ? [] : path.split('/');
  return [HUB, repo, 'resolve', encodeURIComponent(revision), ...segments.map(encodeURIComponent)].join('/');
}

/** `huggingface:owner/repo@revision`, revision `main` where there is none. @throws invalidModel for another shape */
export function hubPlaceOf({ id, version, layer, fileId }: Air, parameter = 'model'): HubPlace {
  if (/^[^/]+\/[^/]+$/.test(id) && layer === undefined && fileId === undefined) {
    return { repo: id, revision: version ?? 'main', path: undefined };
  }
  throw fail('invalidModel', `A Hub repo is named huggingface:owner/repo@revision, got "huggingface:${id}".`, {
    parameter,
    type: 'string',
    hint: `Name one file of a repo by its URL: ${HUB}/owner/repo/resolve/main/file.safetensors.`,
  });
}

/**
 * Reads the addresses that people copy from the Hub: of a repo's page, of its file list (`/tree/`), of a file's page (`/blob/`)
 * and of a file (`/resolve/`, `/raw/`). Undefined for any other URL.
 */
export function parseHubUrl(text: string): HubPlace | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || !HOSTS.includes(url.hostname)) return undefined;
  const [owner, name, view, revision, ...path] = url.pathname.split('/').filter((segment) => segment !== '').map(decode);
  if (owner === undefined || name === undefined || NOT_OWNERS.includes(owner)) return undefined;
  if (view !== undefined && !['tree', 'blob', 'resolve', 'raw'].includes(view)) return undefined;
  return { repo: `${owner}/${name}`, revision: revision ?? 'main', path: path.length === 0 ? undefined : path.join('/') };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // a stray % sign; the server will say what it thinks of it
  }
}

/** An address to read model files from: pages of the Hub become the files they show; other URLs are left as they are. */
export function fileAddress(url: string): string {
  const place = parseHubUrl(url);
  const isPage = place !== undefined && !new URL(url).pathname.includes('/resolve/');
  return isPage ? hubUrl(place) : url;
}
