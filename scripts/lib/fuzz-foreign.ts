/** @file Fuzz target: whole files of other formats in the place of weights, configs and pictures: each is refused, and the error says what it is where that can be told. */
import { gzipSync } from 'node:zlib';
import { memorySource } from '../../src/assets/byte-source.js';
import { memoryTree } from '../../src/assets/file-tree.js';
import { openGguf } from '../../src/assets/gguf.js';
import { openModelFiles } from '../../src/assets/open-model.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import { CONFIG_LIMIT, readJson } from '../../src/assets/text-file.js';
import { openTensorFile } from '../../src/assets/weight-tensors.js';
import { DarkroomError, fail } from '../../src/base/errors.js';
import { readPicture } from '../../src/image/read-picture.js';
import { join, mutateBytes } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { judge, must, type Target } from './fuzz-target.js';

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** How such files begin; what follows is anything. */
const BEGINNINGS = {
  zip: bytesOf('PK\x03\x04\x14\0\0\0\x08\0archive/data.pkl'),
  pickle: bytesOf('\x80\x02}q\0(X\x0a\0\0\0state_dict'),
  newPickle: bytesOf('\x80\x05\x95\x10\0\0\0\0\0\0\0}'),
  html: bytesOf('<!DOCTYPE html><html><head><title>404</title>'),
  xml: bytesOf('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
  lfs: bytesOf('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n'),
  gzip: new Uint8Array(gzipSync('a red fox')),
  tar: join(bytesOf('model/config.json'), new Uint8Array(240), bytesOf('ustar\x0000')),
  elf: bytesOf('\x7fELF\x02\x01\x01\0'),
  numpy: bytesOf("\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}"),
  hdf5: bytesOf('\x89HDF\r\n\x1a\n'),
  onnx: bytesOf('\x08\x08\x12\x07pytorch\x1a\x05'),
  pdf: bytesOf('%PDF-1.7\n'),
  nothing: new Uint8Array(),
  zeros: new Uint8Array(64),
  text: bytesOf('Access denied. Please log in.'),
  sevenZip: bytesOf('7z\xbc\xaf\x27\x1c'),
} as const;

/** Kinds that are told by their first bytes, and a word of what is said of them. */
const TOLD = { zip: /zip/, pickle: /pickle/, newPickle: /pickle/, html: /HTML/, xml: /HTML|XML/, lfs: /LFS/, nothing: /empty/ } as const; // prettier-ignore

const READERS: readonly ((bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>)[] = [
  (bytes) => openSafetensors(memorySource('m.safetensors', bytes)),
  (bytes) => openGguf(memorySource('m.gguf', bytes)),
  (bytes) => openTensorFile(memorySource('m.safetensors', bytes)),
  (bytes) => openModelFiles({ ...memoryTree('m', { 'm.safetensors': bytes }), file: 'm.safetensors' }),
  (bytes) => openModelFiles(memoryTree('m', { 'model_index.json': bytes, 'm.safetensors': bytes })),
  (bytes) => readJson(memorySource('config.json', bytes), CONFIG_LIMIT),
  (bytes) => readPicture(bytes, () => Promise.reject(fail('invalidImage', 'not asked'))),
];
/** Of {@link READERS}, those that say what else a weight file is: a folder takes a page for no file. */
const SAY = [0, 1, 2];

function anyFile(random: Random): { readonly kind: keyof typeof BEGINNINGS; readonly file: Uint8Array<ArrayBuffer> } {
  const kinds = Object.keys(BEGINNINGS) as (keyof typeof BEGINNINGS)[]; // of our own table
  const kind = random.pick(kinds);
  const rest = Uint8Array.from({ length: kind === 'nothing' ? 0 : random.int(200) }, () => random.int(256));
  return { kind, file: join(BEGINNINGS[kind], rest) };
}

/** What some of the readers are for, by their number. */
const PROPER: Readonly<Record<number, Uint8Array<ArrayBuffer>>> = {
  0: join(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0), bytesOf('{}')),
  2: join(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0), bytesOf('{}')),
  5: join(bytesOf('{"a": [1, NaN]}')),
};

export const foreignTarget: Target = {
  kind: 'foreign',
  run(random) {
    const which = random.int(READERS.length);
    const proper = random.chance(0.3) ? PROPER[which] : undefined;
    const { kind, file } = anyFile(random);
    const changed = proper === undefined && random.chance(0.3);
    const bytes = proper ?? (changed ? mutateBytes(file, random) : file);
    return judge(
      async () => {
        try {
          await READERS[which]?.(bytes);
        } catch (error) {
          const told = kind in TOLD && proper === undefined ? TOLD[kind as keyof typeof TOLD] : undefined; // of our own table
          if (error instanceof DarkroomError && told !== undefined && !changed && SAY.includes(which))
            must(told.test(error.message), () => `of ${kind} is said: ${error.message}`);
          throw error;
        }
      },
      // Changed bytes may be anything, but hardly a whole file of another format.
      () => must(bytes === proper || (changed && which === 5), () => `${kind} by reader ${which}`),
    );
  },
};
