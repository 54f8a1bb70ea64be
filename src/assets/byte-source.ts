/** @file Byte sources over memory and over a Blob (also a picked File), and the checks that all sources share. */
import { fail, throwIfAborted } from '../base/errors.js';
import { sampledIdentity } from './file-identity.js';
import type { ByteSource } from './source.js';

/** A source over bytes in memory; reads are views, not copies. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    read: (start, end, signal, onBytes) =>
      new Promise((resolve) => {
        checkRange(name, bytes.length, start, end);
        throwIfAborted(signal);
        onBytes?.(end - start);
        resolve(bytes.subarray(start, end));
      }),
  };
}

/**
 * A source over a Blob or File, which the browser keeps on disk.
 * @throws invalidModelFile when it can no longer be read
 */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    read: async (start, end, signal, onBytes) => {
      checkRange(name, blob.size, start, end);
      throwIfAborted(signal);
      const bytes = await blob
        .slice(start, end)
        .arrayBuffer()
        .catch((cause: unknown) => {
          throw fail('invalidModelFile', `${name} can no longer be read.`, {
            hint: 'The file was moved or changed after it was picked: pick it again.',
            cause,
          });
        });
      throwIfAborted(signal);
      onBytes?.(bytes.byteLength);
      return new Uint8Array(bytes);
    },
    blob: (start, end, signal) =>
      new Promise((resolve) => {
        checkRange(name, blob.size, start, end);
        throwIfAborted(signal);
        resolve(blob.slice(start, end));
      }),
    ...(blob instanceof File ? { identity: () => identityOfFile(blob) } : {}),
  };
}

function identityOfFile(file: File): Promise<string> {
  const read = async (start: number, end: number): Promise<Uint8Array> =>
    new Uint8Array(await file.slice(start, end).arrayBuffer());
  return sampledIdentity([file.name, file.lastModified], file.size, read);
}

/** Refuses a range that is not inside a file of `size` bytes. @throws invalidModelFile */
export function checkRange(name: string, size: number, start: number, end: number): void {
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  if (whole && 0 <= start && start <= end && end <= size) return;
  throw fail('invalidModelFile', `${name}: bytes ${start} to ${end} were asked of a file of ${size} bytes.`);
}

/**
 * The segments of a relative path such as `unet/config.json`; file names inside a model are untrusted.
 * @throws invalidModelConfig for a path that could leave the folder or name something else (`..`, `//`, `C:\`, `?`…)
 */
export function pathSegments(path: string): readonly string[] {
  const segments = path.split('/');
  const plain = segments.every((s) => s !== '' && s !== '.' && s !== '..' && !/[\\:?#%\p{Cc}]/u.test(s));
  if (plain) return segments;
  throw fail('invalidModelConfig', `${JSON.stringify(path)} is not a plain relative path inside the model's folder.`);
}
