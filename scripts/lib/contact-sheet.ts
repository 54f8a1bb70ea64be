/** @file Pictures side by side with captions, as one bitmap. The letters are a 3×5 font of our own. */
import type { RgbPicture } from '../../src/image/pixels.js';

/** A caption and the pictures under it, left to right; all pictures of a sheet have one size. */
export interface Strip {
  readonly caption: string;
  readonly pictures: readonly RgbPicture[];
}

/** Five rows of dots, one digit (base 32) a row, whose highest bit over all rows is the leftmost dot. */
const FONT: Readonly<Record<string, string>> = {
  ...{ A: '25755', B: '65656', C: '34443', D: '65556', E: '74647', F: '74644', G: '34553', H: '55755', I: '72227' },
  ...{ J: '11152', K: '9aca9', L: '44447', M: 'hrlhh', N: '9db99', O: '25552', P: '65644', Q: '25563', R: '65655' },
  ...{ S: '34216', T: '72222', U: '55557', V: '55552', W: 'hhlrh', X: '55255', Y: '55222', Z: '71247' },
  ...{ 0: '75557', 1: '26227', 2: '61247', 3: '61216', 4: '55711', 5: '74616', 6: '34652', 7: '71222', 8: '25252' },
  ...{ 9: '25316', '+': '02720', ' ': '00000' },
};
const DOT = 3;
const CAPTION = 8 * DOT;
const GAP = 8;
const INK = 0x30;
const PAPER = 0xff;

/** A sheet with `columns` strips beside each other, as many rows as needed. */
export function contactSheet(strips: readonly Strip[], columns: number): RgbPicture {
  const first = strips[0]?.pictures[0];
  if (first === undefined) throw new RangeError('a contact sheet of no pictures');
  const { width: w, height: h } = first;
  const inStrip = Math.max(...strips.map(({ pictures }) => pictures.length));
  const [stripWidth, stripHeight] = [inStrip * (w + 2) + GAP, h + CAPTION + GAP];
  const width = columns * stripWidth;
  const height = Math.ceil(strips.length / columns) * stripHeight;
  const sheet = { width, height, rgb: new Uint8Array(3 * width * height).fill(PAPER) };
  for (const [i, { caption, pictures }] of strips.entries()) {
    const [left, top] = [(i % columns) * stripWidth + GAP / 2, Math.floor(i / columns) * stripHeight];
    write(sheet, caption, left, top + DOT);
    for (const [j, picture] of pictures.entries()) paste(sheet, picture, left + j * (w + 2), top + CAPTION);
  }
  return sheet;
}

function paste(sheet: RgbPicture, { width, height, rgb }: RgbPicture, left: number, top: number): void {
  for (let y = 0; y < height; y++)
    sheet.rgb.set(rgb.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * sheet.width + left));
}

function write(sheet: RgbPicture, text: string, left: number, top: number): void {
  let x = left;
  for (const letter of text.toUpperCase()) {
    const glyph = FONT[letter];
    if (glyph === undefined) throw new RangeError(`the caption ${text} has a letter without a shape: ${letter}`);
    const rows = [...glyph].map((digit) => parseInt(digit, 32));
    const columns = Math.max(3, Math.max(...rows).toString(2).length);
    for (const [row, bits] of rows.entries())
      for (let column = 0; column < columns; column++)
        if (((bits >> (columns - 1 - column)) & 1) === 1) dot(sheet, x + column * DOT, top + row * DOT);
    x += (columns + 1) * DOT;
  }
}

function dot({ width, rgb }: RgbPicture, left: number, top: number): void {
  for (let y = top; y < top + DOT; y++) rgb.fill(INK, 3 * (y * width + left), 3 * (y * width + left + DOT));
}

/** Colours to 6 bits a channel, which the eye does not see and which halves the file. */
export function fewerColours({ width, height, rgb }: RgbPicture): RgbPicture {
  return { width, height, rgb: rgb.map((value) => (value & 0xfc) | (value >> 6)) };
}
