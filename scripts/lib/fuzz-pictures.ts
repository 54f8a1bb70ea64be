/** @file Fuzz targets: picture files (both PNG readers, the headers of all kinds) and the texts that pictures carry. */
import { crc32, deflateSync } from 'node:zlib';
import { readImageHeader } from '../../src/image/image-header.js';
import { parseInfotext, toInfotext } from '../../src/image/infotext.js';
import { pngTexts, restoreRequest, type PictureParameters, type Restored } from '../../src/image/parameters.js';
import { decodePng, encodePng, readPngText } from '../../src/image/png.js';
import { readPicture } from '../../src/image/read-picture.js';
import { SCHEDULER_NAMES } from '../../src/request/scheduler-names.js';
import { fail } from '../../src/base/errors.js';
import { join, mutateBytes, mutateJson, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { judge, must, type Target } from './fuzz-target.js';

export const pictureTargets: readonly Target[] = [
  {
    kind: 'png',
    run: async (random) => {
      const file = mutatePng(await anyPng(random, true), random);
      return judge(
        () => decodePng(file),
        ({ width, height, channels, data }) =>
          must(
            width >= 1 && height >= 1 && data.length === width * height * channels,
            () => `${width}×${height}×${channels} of ${data.length} bytes`,
          ),
      );
    },
  },
  {
    kind: 'pngRgb',
    run: async (random) => {
      const file = mutatePng(await anyPng(random), random);
      const decode = (): never => {
        throw fail('invalidImage', 'interlaced: for the platform');
      };
      return judge(
        () => readPicture(file, decode),
        ({ picture: { width, height, rgb }, mime }) => {
          must(mime === 'image/png', () => mime);
          must(rgb.length === width * height * 3, () => `${width}×${height} of ${rgb.length} bytes`);
        },
      );
    },
  },
  {
    kind: 'imageHeader',
    run: (random) => {
      const file = mutateBytes(random.pick(HEADERS), random);
      return judge(
        () => readImageHeader(file),
        (header) => {
          if (header === undefined) return;
          const { width, height } = header;
          must(
            [width, height].every((side) => Number.isInteger(side) && Math.abs(side) < 2 ** 32),
            () => `${width}×${height}`,
          );
        },
      );
    },
  },
  {
    kind: 'pngText',
    run: async (random) => {
      const file = mutatePng(
        await encodePng({ width: 1, height: 1, rgb: new Uint8Array(3) }, textsFor(random)),
        random,
      );
      return judge(async () => restoreRequest(await readPngText(file)), checkRestored);
    },
  },
  {
    kind: 'infotext',
    run: (random) => {
      const { parameters, darkroom } = pngTexts(anyParameters(random));
      if (random.chance(0.5)) return judge(() => parseInfotext(mutateText(parameters, random)), checkRestored);
      const json = random.chance(0.5)
        ? mutateText(darkroom, random)
        : JSON.stringify(mutateJson(JSON.parse(darkroom), random));
      return judge(() => restoreRequest({ darkroom: json, parameters }), checkRestored);
    },
  },
  {
    kind: 'infotextRoundTrip',
    run: (random) => {
      const picture = anyParameters(random);
      return judge(
        () => parseInfotext(toInfotext(picture)),
        (restored) => checkRoundTrip(picture, restored),
      );
    },
  },
];

const LISTS = ['lora', 'embeddings'] as const;

function checkRestored(restored: Restored | undefined): void {
  if (restored === undefined) return;
  const { request, ignored } = restored;
  for (const key of ['positivePrompt', 'negativePrompt', 'model', 'scheduler', 'vae'] as const)
    must(request[key] === undefined || typeof request[key] === 'string', () => `${key} is no text`);
  for (const key of ['width', 'height', 'steps', 'CFGScale', 'clipSkip'] as const)
    must(request[key] === undefined || Number.isFinite(request[key]), () => `${key} is ${String(request[key])}`);
  const { seed } = request;
  must(seed === undefined || Number.isFinite(Number(seed)), () => `seed is ${String(seed)}`);
  for (const key of LISTS)
    for (const { model, weight } of request[key] ?? [])
      must(typeof model === 'string' && Number.isFinite(weight), () => `${key}: ${String(model)} of weight ${weight}`);
  must(
    Array.isArray(ignored) && ignored.every((name) => typeof name === 'string'),
    () => 'ignored is no list of texts',
  );
  structuredClone(restored);
}

function checkRoundTrip(picture: PictureParameters, restored: Restored | undefined): void {
  const request = restored?.request ?? {};
  for (const key of ['width', 'height', 'steps', 'CFGScale', 'scheduler', 'model', 'positivePrompt'] as const)
    must(request[key] === picture[key], () => `${key} ${String(picture[key])} came back as ${String(request[key])}`);
  must(BigInt(request.seed ?? 0) === picture.seed, () => `seed ${picture.seed} came back as ${String(request.seed)}`);
  must(
    (request.clipSkip ?? 0) === picture.clipSkip,
    () => `clipSkip ${picture.clipSkip} came back as ${request.clipSkip}`,
  );
}

const WORDS = [
  'a red fox',
  '(blue)1.2',
  'one, two: three',
  'Steps: 3',
  '"quoted"',
  'two\nlines',
  'Größe',
  '🦊',
  '\\',
  'Negative',
  'a:b',
] as const;

function anyParameters(random: Random): PictureParameters {
  const text = (): string => Array.from({ length: 1 + random.int(4) }, () => random.pick(WORDS)).join(' ');
  return {
    positivePrompt: text(),
    ...(random.chance(0.5) ? { negativePrompt: text() } : {}),
    model: random.pick(['darkroom:1@1', 'my model', 'https://example.org/a,b:c.safetensors?x="1"', 'civitai:1@2']),
    width: 128 + 64 * random.int(30),
    height: 128 + 64 * random.int(30),
    steps: 1 + random.int(100),
    CFGScale: random.pick([0, 1, 4.5, 7, 7.25, 50]),
    scheduler: random.pick(SCHEDULER_NAMES),
    seed: random.pick([1n, 4294967295n, 9007199254740993n, 9223372036854775807n, BigInt(1 + random.int(2 ** 31))]),
    clipSkip: random.int(3),
    ...(random.chance(0.2) ? { vae: 'a vae, of mine' } : {}),
    controlNet: [],
    lora: random.chance(0.3) ? [{ model: 'a:1@2', weight: random.pick([-4, 0.5, 4]) }] : [],
    embeddings: [],
  };
}

function textsFor(random: Random): Readonly<Record<string, string>> {
  const { parameters, darkroom } = pngTexts(anyParameters(random));
  return random.pick([
    { parameters, darkroom },
    { parameters },
    { darkroom: JSON.stringify(mutateJson(JSON.parse(darkroom), random)) },
  ]);
}

/**
 * A valid PNG of any colour type and depth, now and then with a palette, several IDATs, or a text.
 * @param own of the kinds that Darkroom writes itself
 */
function anyPng(random: Random, own = false): Promise<Uint8Array<ArrayBuffer>> {
  const kinds = [[0, 1, [1, 2, 4, 8, 16]], [2, 3, [8, 16]], [3, 1, [1, 2, 4, 8]], [4, 2, [8, 16]], [6, 4, [8, 16]]] as const; // prettier-ignore
  const [colourType, samples, depths] = random.pick(own ? kinds.filter(([type]) => type !== 3) : kinds);
  const depth = own ? 8 : random.pick<number>(depths);
  const [width, height] = [1 + random.int(20), 1 + random.int(20)];
  const row = Math.ceil((width * samples * depth) / 8);
  const raw = Uint8Array.from({ length: height * (row + 1) }, (_, i) =>
    i % (row + 1) === 0 ? random.int(5) : random.int(256),
  );
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([depth, colourType, 0, 0, random.chance(0.05) ? 1 : 0], 8);
  const palette = Uint8Array.from({ length: 3 * random.pick([1, 2, 16, 256]) }, () => random.int(256));
  const pixels = deflateSync(raw);
  const cut = random.chance(0.2) ? random.int(pixels.length) : pixels.length;
  const parts = [
    chunk('IHDR', header),
    ...(colourType === 3 || random.chance(0.1) ? [chunk('PLTE', palette)] : []),
    ...(random.chance(0.2) ? [chunk('tEXt', new TextEncoder().encode('parameters\0a fox\nSteps: 3'))] : []),
    chunk('IDAT', pixels.subarray(0, cut)),
    ...(cut < pixels.length ? [chunk('IDAT', pixels.subarray(cut))] : []),
    chunk('IEND', new Uint8Array(0)),
  ];
  return Promise.resolve(join(SIGNATURE, ...parts));
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

function chunk(type: string, data: Uint8Array): Uint8Array {
  const body = join(new TextEncoder().encode(type), data);
  const out = new Uint8Array(body.length + 8);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(body, 4);
  view.setUint32(body.length + 4, crc32(body));
  return out;
}

/** Mutated; mostly with right checksums again, since only such a file gets past the first chunk. */
function mutatePng(file: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  const chunks = chunksOf(file);
  if (random.chance(0.2) || chunks.length === 0) return mutateBytes(file, random);
  const at = random.int(chunks.length);
  switch (random.int(5)) {
    case 0:
      chunks.splice(at, 1);
      break;
    case 1:
      chunks.splice(random.int(chunks.length + 1), 0, ...chunks.slice(at, at + 1));
      break;
    default: {
      const [type, data] = chunks[at] ?? ['IEND', new Uint8Array(0)];
      chunks[at] = [
        random.chance(0.05) ? random.pick(['IDAT', 'PLTE', 'zTXt', 'iTXt', 'aBCD', 'ABCD']) : type,
        mutateBytes(data, random),
      ];
    }
  }
  return join(SIGNATURE, ...chunks.map(([type, data]) => chunk(type, data)));
}

function chunksOf(file: Uint8Array): [type: string, data: Uint8Array][] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const chunks: [string, Uint8Array][] = [];
  for (let at = 8; at + 12 <= file.length;) {
    const length = view.getUint32(at);
    chunks.push([String.fromCharCode(...file.subarray(at + 4, at + 8)), file.slice(at + 8, at + 8 + length)]);
    at += 12 + length;
  }
  return chunks;
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
/** The beginnings of files of every kind. */
const HEADERS: readonly Uint8Array[] = [
  join(SIGNATURE, chunk('IHDR', Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 5, 8, 2, 0, 0, 0))),
  join(
    ascii('\xff\xd8\xff\xe0\x00\x10JFIF\0'),
    new Uint8Array(9),
    ascii('\xff\xc0\x00\x11\x08\x00\x05\x00\x04\x03'),
    new Uint8Array(9),
  ),
  join(ascii('RIFF\x20\0\0\0WEBPVP8 \x10\0\0\0\x30\x01\0\x9d\x01\x2a\x04\0\x05\0'), new Uint8Array(8)),
  join(ascii('RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f\x03\x00\x01\x00'), new Uint8Array(8)),
  join(ascii('RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x03\0\0\x04\0\0'), new Uint8Array(8)),
  join(ascii('GIF89a\x04\0\x05\0'), new Uint8Array(8)),
  join(
    ascii('BM'),
    new Uint8Array(12),
    Uint8Array.of(40, 0, 0, 0, 4, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff),
    new Uint8Array(8),
  ),
];
