/** @file Which version of a file a server has, as far as its answers tell. Pure. */
import { fields } from '../../base/fields.js';

/** What says that two answers are about the same bytes. */
export interface FileVersion {
  /** Bytes. */
  readonly size?: number;
  /** `ETag`, as sent. */
  readonly etag?: string;
  /** `Last-Modified`, as sent. */
  readonly modified?: string;
}

/** @param size of the whole file, where the answer tells */
export function versionOf(headers: Headers, size: number | undefined): FileVersion {
  const etag = headers.get('etag');
  const modified = headers.get('last-modified');
  return {
    ...(size === undefined ? {} : { size }),
    ...(etag === null ? {} : { etag }),
    ...(modified === null ? {} : { modified }),
  };
}

/** Whether nothing that both say is different. */
export function agrees(a: FileVersion, b: FileVersion): boolean {
  const differs = (x: string | number | undefined, y: string | number | undefined): boolean =>
    x !== undefined && y !== undefined && x !== y;
  return !differs(a.size, b.size) && !differs(a.etag, b.etag) && !differs(a.modified, b.modified);
}

/**
 * Whether they are the same version for certain: they agree, and both have the same strong ETag or the same date. A weak ETag (`W/`)
 * promises the same meaning, not the same bytes (RFC 9110 §8.8.1), and pieces of one must not be put together with another's.
 */
export function isSameVersion(a: FileVersion, b: FileVersion): boolean {
  const strong = a.etag !== undefined && a.etag === b.etag && !a.etag.startsWith('W/');
  return agrees(a, b) && (strong || (a.modified !== undefined && a.modified === b.modified));
}

/** Reads what JSON has. @throws invalidModelConfig */
export function parseVersion(json: unknown, where: string): FileVersion {
  const f = fields(json, where);
  return {
    ...(f.has('size') ? { size: f.integer('size', undefined, { min: 0, max: Number.MAX_SAFE_INTEGER }) } : {}),
    ...(f.has('etag') ? { etag: f.text('etag') } : {}),
    ...(f.has('modified') ? { modified: f.text('modified') } : {}),
  };
}
