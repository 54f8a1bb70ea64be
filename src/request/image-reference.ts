/** @file What a request's picture may be, told by its form alone: UUID, data URI, base64, URL, or bytes. Pure; nothing is read or fetched. */

/** A picture in a checked task: text as sent, or a file's bytes, which only callers in the same page can pass. */
export type ImageInput = string | Blob;

/** What the text or the bytes are. */
export type ImageReference =
  | { readonly kind: 'uuid'; readonly uuid: string }
  | { readonly kind: 'base64'; readonly base64: string; readonly mime: string | undefined }
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'blob'; readonly blob: Blob };

/** RFC 9562, versions 1 to 8 of variant 10; not the nil and max UUIDs, which identify nothing. */
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** The largest file of a picture that is read, in bytes. */
export const MAX_IMAGE_BYTES = 64 * 1024 * 1024;

/** Base64 takes 4 characters for 3 bytes; a tenth more for line breaks and the head of a data URI. */
const MAX_CHARACTERS = Math.ceil(MAX_IMAGE_BYTES * (4 / 3) * 1.1);

/** No picture file is smaller than this; shorter text is a name or a mistake. */
const LEAST_BASE64 = 32;
const BASE64_START = /^[A-Za-z0-9+/\s]+$/;
const DATA_HEAD = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,/i;

/** Bare base64 is recognised by its first characters; that the rest is base64 too shows when it is decoded. */
const LOOKED_AT = 256;

/**
 * What `value` refers to; `undefined` where it has none of the forms or is too long. Text that starts like base64 counts as base64.
 * @example
 * parseImageReference('https://example.org/a.png'); // { kind: 'url', url }
 */
export function parseImageReference(value: unknown): ImageReference | undefined {
  if (typeof value === 'string') return value.length > MAX_CHARACTERS ? undefined : parseText(value);
  return isFile(value) ? { kind: 'blob', blob: value } : undefined;
}

/** Whether `value` has one of the forms. */
export function isImageInput(value: unknown): value is ImageInput {
  return parseImageReference(value) !== undefined;
}

function parseText(text: string): ImageReference | undefined {
  if (UUID.test(text)) return { kind: 'uuid', uuid: text.toLowerCase() };
  const start = text.slice(0, LOOKED_AT);
  if (/^data:/i.test(start)) {
    const [head, mime] = DATA_HEAD.exec(start) ?? [];
    return head === undefined ? undefined : { kind: 'base64', base64: text.slice(head.length), mime };
  }
  if (/^(https?|blob):/i.test(start)) return URL.canParse(text) ? { kind: 'url', url: new URL(text) } : undefined;
  const isBase64 = text.length >= LEAST_BASE64 && BASE64_START.test(start.replace(/={1,2}\s*$/, ''));
  return isBase64 ? { kind: 'base64', base64: text, mime: undefined } : undefined;
}

/** A `Blob` (a `File` is one) with something in it; whatever a proxy pretends or throws is none. */
function isFile(value: unknown): value is Blob {
  try {
    return typeof Blob !== 'undefined' && value instanceof Blob && value.size > 0;
  } catch {
    return false;
  }
}
