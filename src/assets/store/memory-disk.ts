/** @file A disk in memory, for tests and for Node; gone with the process. */
import { blobView, type Disk, type DiskFile } from './disk.js';

interface Contents {
  bytes: Uint8Array<ArrayBuffer>;
  length: number;
}

export function createMemoryDisk(): Disk {
  const files = new Map<string, Contents>();
  return {
    kind: 'memory',
    list: () => Promise.resolve([...files].map(([name, { length }]) => ({ name, bytes: length }))),
    open: (name) => {
      const contents = files.get(name) ?? { bytes: new Uint8Array(0), length: 0 };
      files.set(name, contents);
      return Promise.resolve(openContents(contents));
    },
    view: (name) => {
      const contents = files.get(name);
      return Promise.resolve(contents && blobView(new Blob([contents.bytes.subarray(0, contents.length)])));
    },
    remove: (name) => {
      files.delete(name);
      return Promise.resolve();
    },
  };
}

function openContents(contents: Contents): DiskFile {
  return {
    bytes: () => Promise.resolve(contents.length),
    read: (start, end) => Promise.resolve(contents.bytes.slice(start, Math.min(end, contents.length))),
    write: (bytes, at) => {
      if (bytes.length === 0) return Promise.resolve();
      const end = at + bytes.length;
      if (end > contents.bytes.length) {
        const larger = new Uint8Array(Math.max(end, contents.bytes.length * 2));
        larger.set(contents.bytes.subarray(0, contents.length));
        contents.bytes = larger;
      }
      contents.bytes.set(bytes, at);
      contents.length = Math.max(contents.length, end);
      return Promise.resolve();
    },
    truncate: (bytes) => {
      const same = contents.bytes.slice(0, Math.min(bytes, contents.length));
      contents.bytes = new Uint8Array(bytes);
      contents.bytes.set(same);
      contents.length = bytes;
      return Promise.resolve();
    },
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
