/** @file PNG writer and reader against libpng (through sharp), pictures written by Pillow, and the specification's own numbers. */
import { readFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { crc32, readChunks, SIGNATURE, writeChunk } from '../../../src/image/png-chunks.js';
import { filterRows, unfilterRows } from '../../../src/image/png-filter.js';
import { decodePng, encodePng, readPngText } from '../../../src/image/png.js';

const GOLDEN = new URL('../../golden/cases/sd15-euler/image.png', import.meta.url);

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(text));
}

/** Numbers that no filter predicts well, and smooth ones that each filter predicts differently. */
function testPicture(width: number, height: number, channels: number): Uint8Array<ArrayBuffer> {
  let state = 12345;
  return Uint8Array.from({ length: width * height * channels }, (_, i) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    const x = Math.floor(i / channels) % width;
    const y = Math.floor(i / channels / width);
    if (y % 4 === 3) return state >> 16;
    return y % 4 === 2 ? 128 + 100 * Math.sin(x / 5) : x * 3 + y * 5 * (i % channels);
  });
}

function file(...chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat([Uint8Array.from(SIGNATURE), ...chunks]));
}

function ihdr(width: number, height: number, depth = 8, colourType = 2, interlace = 0): Uint8Array {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([depth, colourType, 0, 0, interlace], 8);
  return writeChunk('IHDR', data);
}

const IEND = writeChunk('IEND', new Uint8Array(0));

describe('crc32', () => {
  it('gives the check value of CRC-32 and the CRC every PNG ends with', () => {
    expect(crc32(bytesOf('123456789'))).toBe(0xcbf43926); // the catalogue's check value of CRC-32/ISO-HDLC
    expect(crc32(bytesOf('IEND'))).toBe(0xae426082);
  });
});

describe('encodePng', () => {
  it.each([
    [1, 1],
    [7, 5],
    [64, 48],
    [333, 17],
  ])('writes %i×%i pixels that libpng reads back exactly', async (width, height) => {
    const rgb = testPicture(width, height, 3);
    const read = await sharp(await encodePng({ width, height, rgb }))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(read.info).toMatchObject({ width, height, channels: 3 });
    expect(new Uint8Array(read.data)).toEqual(rgb);
  });

  it('writes opacity', async () => {
    const rgba = testPicture(20, 10, 4);
    const read = await sharp(await encodePng({ width: 20, height: 10, rgba }))
      .raw()
      .toBuffer();
    expect(new Uint8Array(read)).toEqual(rgba);
  });

  it('is not larger than what libpng makes of the same picture at its best adaptive filters', async () => {
    const { data, info } = await sharp(await readFile(GOLDEN))
      .raw()
      .toBuffer({ resolveWithObject: true });
    const ours = await encodePng({ width: info.width, height: info.height, rgb: new Uint8Array(data) });
    const raw = { raw: { width: info.width, height: info.height, channels: 3 as const } };
    const theirs = await sharp(data, raw).png({ adaptiveFiltering: true, compressionLevel: 6 }).toBuffer();
    const plain = await sharp(data, raw).png({ adaptiveFiltering: false, compressionLevel: 9 }).toBuffer();
    expect(ours.length).toBeLessThan(theirs.length * 1.02);
    expect(ours.length).toBeLessThan(plain.length);
  });

  it('stores texts where libpng finds them, Latin-1 as tEXt and the rest as iTXt', async () => {
    const texts = { parameters: 'a café\nSteps: 20', darkroom: '{"positivePrompt":"日本の灯台 🗼"}' };
    const png = await encodePng({ width: 1, height: 1, rgb: Uint8Array.of(1, 2, 3) }, texts);
    const types = [...readChunks(png)].map((chunk) => chunk.type);
    expect(types).toEqual(['IHDR', 'tEXt', 'iTXt', 'IDAT', 'IEND']);
    const { comments = [] } = await sharp(png).metadata();
    expect(Object.fromEntries(comments.map(({ keyword, text }) => [keyword, text]))).toMatchObject({
      darkroom: texts.darkroom,
    });
    expect(await readPngText(png)).toEqual(texts);
  });

  it.each([
    ['too few bytes', { width: 2, height: 2, rgb: new Uint8Array(11) }],
    ['no pixels', { width: 0, height: 2, rgb: new Uint8Array(0) }],
    ['a side too long', { width: 16_385, height: 1, rgb: new Uint8Array(3 * 16_385) }],
  ])('refuses %s', async (_what, picture) => {
    await expect(encodePng(picture)).rejects.toMatchObject({ code: 'invalidImage' });
  });

  it.each(['', ' leading', 'x'.repeat(80), 'naïve€'])('refuses the keyword %j', async (keyword) => {
    const picture = { width: 1, height: 1, rgb: new Uint8Array(3) };
    await expect(encodePng(picture, { [keyword]: 'x' })).rejects.toMatchObject({ code: 'invalidImage' });
  });
});

describe('decodePng', () => {
  it('reads a picture written by Pillow as libpng does', async () => {
    const bytes = new Uint8Array(await readFile(GOLDEN));
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
    const ours = await decodePng(bytes);
    expect(ours).toMatchObject({ width: info.width, height: info.height, channels: info.channels });
    expect(ours.data).toEqual(new Uint8Array(data));
  });

  it.each([
    ['gray', 1 as const, 'b-w'],
    ['RGB', 3 as const, 'srgb'],
    ['RGBA', 4 as const, 'srgb'],
  ])('reads %s written by libpng', async (_name, channels, space) => {
    const data = testPicture(31, 23, channels);
    const image = sharp(data, { raw: { width: 31, height: 23, channels } }).toColourspace(space);
    const png = await image.png({ adaptiveFiltering: true }).toBuffer();
    const read = await decodePng(new Uint8Array(png));
    expect(read.channels).toBe(channels);
    expect(read.data).toEqual(data);
  });

  it.each([0, 1, 2, 3, 4])('undoes filter type %i as libpng does', async (type) => {
    const rows = testPicture(1 + 3 * 9, 6, 1).map((byte, i) => (i % 28 === 0 ? type : byte));
    const png = file(ihdr(9, 6), writeChunk('IDAT', deflateSync(rows)), IEND);
    const theirs = await sharp(png).raw().toBuffer();
    expect((await decodePng(png)).data).toEqual(new Uint8Array(theirs));
  });

  it('joins several IDAT chunks', async () => {
    const packed = deflateSync(filterRows(testPicture(9, 6, 3), 9, 6, 3));
    const png = file(
      ihdr(9, 6),
      writeChunk('IDAT', packed.subarray(0, 5)),
      writeChunk('IDAT', packed.subarray(5)),
      IEND,
    );
    expect((await decodePng(png)).data).toEqual(testPicture(9, 6, 3));
  });

  const TEXT = writeChunk('tEXt', bytesOf('a\0b'));
  const good = (): Uint8Array => writeChunk('IDAT', deflateSync(Buffer.alloc(7)));
  const damaged = (png: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> =>
    png.map((byte, i) => (i === at ? byte ^ 1 : byte));
  it.each([
    ['no PNG', bytesOf('GIF89a, no picture of ours'), /not a PNG/],
    ['no bytes', new Uint8Array(0), /not a PNG/],
    ['no chunk after the signature', file(), /without an IEND/],
    ['a missing IEND', file(ihdr(2, 1), good()), /without an IEND/],
    [
      'a chunk longer than the file',
      file(ihdr(2, 1), Uint8Array.of(0xff, 0xff, 0xff, 0xff, 73, 68, 65, 84, 0, 0, 0, 0)),
      /claims 4294967295/,
    ],
    ['a wrong checksum', damaged(file(ihdr(2, 1), good(), IEND), 20), /checksum/],
    ['pixels before the header', file(good(), ihdr(2, 1), IEND), /must start with an IHDR/],
    ['no pixels', file(ihdr(2, 1), IEND), /no IDAT/],
    ['too few pixels', file(ihdr(2, 2), good(), IEND), /needs 14 bytes, got 7/],
    ['a size of 0', file(ihdr(0, 1), good(), IEND), /0×1/],
    ['a size of 4 billion', file(ihdr(0xffffffff, 0xffffffff), good(), IEND), /4294967295×4294967295/],
    ['more pixels than memory', file(ihdr(16_384, 16_384), good(), IEND), /16384×16384/],
    ['16 bits', file(ihdr(2, 1, 16), good(), IEND), /16 bits/],
    ['a palette', file(ihdr(2, 1, 8, 3), good(), IEND), /colour type 3/],
    ['interlacing', file(ihdr(2, 1, 8, 2, 1), good(), IEND), /interlace 1/],
    [
      'a filter type of 5',
      file(ihdr(2, 1), writeChunk('IDAT', deflateSync(Buffer.alloc(7, 5))), IEND),
      /filter type 5/,
    ],
    ['an unknown critical chunk', file(ihdr(2, 1), writeChunk('FOOO', new Uint8Array(1)), good(), IEND), /FOOO/],
    ['a second header', file(ihdr(2, 1), good(), ihdr(9, 9), IEND), /IHDR.*there is one already/],
    ['pixels with something between', file(ihdr(2, 1), good(), TEXT, good(), IEND), /one run/],
    [
      'a palette behind the pixels',
      file(ihdr(2, 1), good(), writeChunk('PLTE', new Uint8Array(3)), IEND),
      /before the/,
    ],
    [
      'a palette of a colour and a half',
      file(ihdr(2, 1), writeChunk('PLTE', new Uint8Array(4)), good(), IEND),
      /4 bytes/,
    ],
    ['a palette of 257', file(ihdr(2, 1), writeChunk('PLTE', new Uint8Array(771)), good(), IEND), /771 bytes/],
    ['a chunk that has no name', file(ihdr(2, 1), writeChunk('a1b2', new Uint8Array(0)), good(), IEND), /four letters/],
    ['data that is not zlib', file(ihdr(2, 1), writeChunk('IDAT', new Uint8Array(20).fill(7)), IEND), /damaged/],
  ])('refuses %s', async (_what, bytes, message) => {
    const refused = decodePng(bytes);
    await expect(refused).rejects.toMatchObject({ code: 'invalidImage' });
    await expect(refused).rejects.toThrow(message);
  });

  it('stops unpacking a bomb instead of filling memory', async () => {
    const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(100_000);
    const before = process.memoryUsage().arrayBuffers;
    await expect(decodePng(file(ihdr(2, 1), writeChunk('IDAT', bomb), IEND))).rejects.toThrow(/at most 7 bytes/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  });
});

describe('readPngText', () => {
  it('stops where there is no end of texts: each may be packed a thousandfold', async () => {
    const packed = deflateSync(Buffer.alloc(4 * 1024 * 1024, 'a'));
    const texts = Array.from({ length: 40 }, (_, i) =>
      writeChunk('zTXt', Buffer.concat([bytesOf(`${i}\0\0`), packed])),
    );
    await expect(readPngText(file(ihdr(2, 1), ...texts, IEND))).rejects.toThrow(/more than/);
    const many = Array.from({ length: 1001 }, () => writeChunk('tEXt', bytesOf('a\0b')));
    await expect(readPngText(file(ihdr(2, 1), ...many, IEND))).rejects.toThrow(/more than 1000 texts/);
    expect(await readPngText(file(ihdr(2, 1), ...many.slice(1), IEND))).toEqual({ a: 'b' });
  });

  it('reads tEXt, zTXt and iTXt, plain and compressed, and keeps the first of a repeated keyword', async () => {
    const latin = (text: string): Buffer => Buffer.from(text, 'latin1');
    const png = file(
      ihdr(2, 1),
      writeChunk('tEXt', latin('Title\0Caf\xe9')),
      writeChunk('tEXt', latin('Title\0second')),
      writeChunk('zTXt', Buffer.concat([latin('Packed\0\0'), deflateSync(latin('na\xefve'))])),
      writeChunk('iTXt', Buffer.concat([latin('Plain\0\0\0en\0Titel\0'), Buffer.from('灯台')])),
      writeChunk('iTXt', Buffer.concat([latin('Utf8\0\x01\0\0\0'), deflateSync(Buffer.from('灯台 🗼'))])),
      IEND,
    );
    expect(await readPngText(png)).toEqual({ Title: 'Café', Packed: 'naïve', Plain: '灯台', Utf8: '灯台 🗼' });
  });

  it('refuses a text without its zero byte and a text that unpacks without end', async () => {
    await expect(readPngText(file(ihdr(2, 1), writeChunk('tEXt', bytesOf('no end')), IEND))).rejects.toMatchObject({
      code: 'invalidImage',
    });
    const bomb = Buffer.concat([Buffer.from('Bomb\0\0'), deflateSync(Buffer.alloc(32 * 1024 * 1024))]);
    await expect(readPngText(file(ihdr(2, 1), writeChunk('zTXt', bomb), IEND))).rejects.toThrow(
      /at most 4194304 bytes/,
    );
  });
});

describe('filterRows', () => {
  it('is undone by unfilterRows, for every number of channels', () => {
    for (const channels of [1, 2, 3, 4]) {
      const data = testPicture(13, 9, channels);
      expect(unfilterRows(filterRows(data, 13, 9, channels), 13, 9, channels)).toEqual(data);
    }
  });
});
