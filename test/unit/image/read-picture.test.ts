/** @file Picture files → pixels against libpng, libjpeg and libwebp (through sharp): every depth of PNG, headers, limits, damaged files. */
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it, vi } from 'vitest';
import { withoutAlpha, type DecodePicture } from '../../../src/image/decode.js';
import { readImageHeader } from '../../../src/image/image-header.js';
import { SIGNATURE, writeChunk } from '../../../src/image/png-chunks.js';
import { readPicture } from '../../../src/image/read-picture.js';

const never: DecodePicture = () => Promise.reject(new Error('the platform was asked'));

/** A PNG file of any depth and colour, rows filtered by type `filter`, which for these random bytes is as good as any. */
function pngFile(
  {
    width,
    height,
    depth,
    colourType,
    interlace = 0,
  }: Record<'width' | 'height' | 'depth' | 'colourType', number> & { interlace?: number },
  { filter = 0, before = [] as readonly Uint8Array[] } = {},
): Uint8Array<ArrayBuffer> {
  const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[colourType] ?? 1;
  const rowBytes = Math.ceil((width * samples * depth) / 8);
  let state = 7 * depth + colourType;
  const rows = Uint8Array.from({ length: height * (1 + rowBytes) }, (_, i) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return i % (1 + rowBytes) === 0 ? filter : state >> 16;
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colourType, 0, 0, interlace], 8);
  const parts = [Uint8Array.from(SIGNATURE), writeChunk('IHDR', header), ...before];
  return new Uint8Array(
    Buffer.concat([...parts, writeChunk('IDAT', deflateSync(rows)), writeChunk('IEND', new Uint8Array(0))]),
  );
}

/** What libvips makes of it, opacity dropped. */
async function expected(
  file: Uint8Array,
): Promise<{ readonly rgb: Buffer; readonly width: number; readonly height: number }> {
  const { data, info } = await sharp(file)
    .toColourspace('srgb')
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { rgb: data, width: info.width, height: info.height };
}

const palette = (entries: number): Uint8Array =>
  writeChunk(
    'PLTE',
    Uint8Array.from({ length: 3 * entries }, (_, i) => (i * 89) % 256),
  );

describe('PNG', () => {
  const kinds = [
    ...[1, 2, 4, 8, 16].map((depth) => [depth, 0] as const),
    ...[1, 2, 4, 8].map((depth) => [depth, 3] as const),
    ...[8, 16].flatMap((depth) => [2, 4, 6].map((colourType) => [depth, colourType] as const)),
  ];

  it.each(kinds)('of %i bits and colour type %i, filtered in each way', async (depth, colourType) => {
    for (const filter of [0, 1, 2, 3, 4]) {
      const before = colourType === 3 ? [palette(2 ** depth)] : [];
      const file = pngFile({ width: 13, height: 7, depth, colourType }, { filter, before });
      const { picture, mime } = await readPicture(file, never);
      const oracle = await expected(file);
      expect([mime, picture.width, picture.height]).toEqual(['image/png', oracle.width, oracle.height]);
      expect(Buffer.compare(picture.rgb, oracle.rgb), `filter ${filter}`).toBe(0);
    }
  });

  it('keeps the colours of what is transparent', async () => {
    const transparency = writeChunk('tRNS', Uint8Array.of(0, 128));
    const file = pngFile({ width: 9, height: 5, depth: 8, colourType: 3 }, { before: [palette(256), transparency] });
    expect(Buffer.compare((await readPicture(file, never)).picture.rgb, (await expected(file)).rgb)).toBe(0);
  });

  it('leaves interlaced files to the platform', async () => {
    const rgb = { width: 8, height: 8, rgb: new Uint8Array(192) };
    const decode = vi.fn<DecodePicture>(() => Promise.resolve(rgb));
    const file = new Uint8Array(
      await sharp(Buffer.alloc(192), { raw: { width: 8, height: 8, channels: 3 } })
        .png({ progressive: true })
        .toBuffer(),
    );
    expect((await readPicture(file, decode)).picture).toBe(rgb);
    expect(decode).toHaveBeenCalledWith(file, 'image/png');
  });

  it.each<[string, Uint8Array<ArrayBuffer>, RegExp]>([
    ['no palette', pngFile({ width: 4, height: 4, depth: 8, colourType: 3 }), /no palette/],
    [
      'a depth that its colour type has not',
      pngFile({ width: 4, height: 4, depth: 4, colourType: 2 }),
      /4 bits of colour type 2/,
    ],
    ['an unknown colour type', pngFile({ width: 4, height: 4, depth: 8, colourType: 5 }), /colour type 5/],
    ['a cut end', pngFile({ width: 4, height: 4, depth: 8, colourType: 2 }).slice(0, 60), /PNG/],
    ['too few rows', damaged((file) => file.writeUInt32BE(9, 20)), /checksum|needs/],
    [
      'a filter that does not exist',
      pngFile({ width: 4, height: 4, depth: 8, colourType: 2 }, { filter: 5 }),
      /filter type 5/,
    ],
    ['no side', pngFile({ width: 0, height: 4, depth: 8, colourType: 2 }), /0×4/],
    [
      'a side above the limit',
      pngFile({ width: 16385, height: 1, depth: 1, colourType: 0 }),
      /16385×1: expected sides/,
    ],
    [
      'an area above the limit',
      pngFile({ width: 16384, height: 16384, depth: 1, colourType: 0 }).slice(0, 50),
      /16384×16384: .* 67 megapixels/,
    ],
  ])('is refused for %s', async (_name, file, message) => {
    await expect(readPicture(file, never)).rejects.toMatchObject({
      code: 'invalidImage',
      message: expect.stringMatching(message) as string,
    });
  });
});

function damaged(change: (file: Buffer) => void): Uint8Array<ArrayBuffer> {
  const file = Buffer.from(pngFile({ width: 4, height: 4, depth: 8, colourType: 2 }));
  change(file);
  return new Uint8Array(file);
}

const photo = sharp(Buffer.alloc(37 * 23 * 3, 120), { raw: { width: 37, height: 23, channels: 3 } });

describe('readImageHeader', () => {
  it.each([
    ['image/jpeg', () => photo.clone().jpeg().toBuffer()],
    ['image/jpeg', () => photo.clone().jpeg({ progressive: true, mozjpeg: true }).toBuffer()],
    ['image/jpeg', () => photo.clone().withMetadata({ orientation: 6 }).jpeg().toBuffer()],
    ['image/webp', () => photo.clone().webp().toBuffer()],
    ['image/webp', () => photo.clone().webp({ lossless: true }).toBuffer()],
    ['image/webp', () => photo.clone().ensureAlpha(0.5).webp().toBuffer()],
    ['image/gif', () => photo.clone().gif().toBuffer()],
    ['image/png', () => photo.clone().png().toBuffer()],
  ])('reads %s', async (mime, make) => {
    const file = await make();
    expect(readImageHeader(new Uint8Array(file))).toEqual({ mime, width: 37, height: 23 });
  });

  it.each([
    ['of Windows 3, from the bottom', 40, 23],
    ['of Windows 3, from the top', 40, -23],
    ['of OS/2', 12, 23],
  ])('reads BMP %s', (_name, headerBytes, height) => {
    const file = Buffer.alloc(54);
    file.write('BM', 0, 'latin1');
    file.writeUInt32LE(headerBytes, 14);
    if (headerBytes === 12) {
      file.writeUInt16LE(37, 18);
      file.writeUInt16LE(height, 20);
    } else {
      file.writeInt32LE(37, 18);
      file.writeInt32LE(height, 22);
    }
    expect(readImageHeader(new Uint8Array(file))).toEqual({ mime: 'image/bmp', width: 37, height: 23 });
  });

  it('knows nothing of other files', () => {
    for (const text of ['', 'BB', '<svg/>', '%PDF-1.7', 'RIFF____WAVEfmt ', 'GIF90a'.repeat(9)]) {
      expect(readImageHeader(new TextEncoder().encode(text))).toBeUndefined();
    }
  });

  it('never reads behind the end, wherever a file is cut', async () => {
    const files = [
      photo.clone().jpeg(),
      photo.clone().webp(),
      photo.clone().webp({ lossless: true }),
      photo.clone().gif(),
      photo.clone().png(),
    ];
    for (const file of await Promise.all(files.map((image) => image.toBuffer()))) {
      for (let end = 0; end < Math.min(file.length, 700); end++) {
        try {
          readImageHeader(new Uint8Array(file.subarray(0, end)));
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalidImage' });
        }
      }
    }
  });

  it('ends on a JPEG of nothing but fill bytes, and on one of empty segments', () => {
    const fill = new Uint8Array(1000).fill(0xff);
    fill[1] = 0xd8;
    const empty = Uint8Array.from({ length: 1000 }, (_, i) => [0xff, 0xe0, 0, 0][(i - 2) & 3] ?? 0);
    empty.set([0xff, 0xd8, 0xff]);
    for (const file of [fill, empty]) {
      expect(() => readImageHeader(file)).toThrow(expect.objectContaining({ code: 'invalidImage' }) as Error);
    }
  });
});

describe('readPicture', () => {
  it('says what is no picture', async () => {
    const bytes = new TextEncoder().encode('<html>not found</html>');
    await expect(readPicture(bytes, never)).rejects.toMatchObject({
      code: 'invalidImage',
      message: '22 bytes that are no picture: expected a PNG, JPG or WEBP file.',
    });
  });

  it('says that the platform could not read a file', async () => {
    const jpeg = new Uint8Array((await photo.clone().jpeg().toBuffer()).subarray(0, 200));
    await expect(readPicture(jpeg, never)).rejects.toMatchObject({
      code: 'invalidImage',
      message: expect.stringMatching(/image\/jpeg file is damaged.*the platform was asked/) as string,
    });
  });
});

it('withoutAlpha drops every fourth byte', () => {
  expect([...withoutAlpha(Uint8Array.of(1, 2, 3, 0, 4, 5, 6, 128))]).toEqual([1, 2, 3, 4, 5, 6]);
});
