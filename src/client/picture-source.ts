/**
 * @file Pictures that a page has in its hands (canvas, image element, ImageData, ImageBitmap) → files, before a request crosses to the worker,
 * which has none of these. Files and text stay as they are. May import base.
 */
import { DarkroomError, fail } from '../base/errors.js';
import { reading } from './given.js';

/** Requests are two levels deep (`controlNet[].guideImage`), in an array of tasks. */
const DEPTH = 4;
/** The request's checks refuse longer lists. */
const LONGEST_LIST = 1000;

/**
 * A request, or an array of tasks, that structured clone can send. What is drawn on a canvas now counts, not when the task runs.
 * @throws `invalidImage` for a picture that cannot be read: not loaded, or of another site; `invalidRequest` for a request that cannot
 */
export function toSendable(request: unknown): Promise<unknown> {
  return reading(() => replacePictures(request, DEPTH));
}

async function replacePictures(value: unknown, depth: number): Promise<unknown> {
  if (typeof value !== 'object' || value === null || depth < 0 || value instanceof Blob) return value;
  if (isDrawable(value)) return toFile(value);
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    return items.length > LONGEST_LIST ? items : Promise.all(items.map((item) => replacePictures(item, depth - 1)));
  }
  if (!isPlain(value)) return value;
  const entries = Object.entries(value).map(
    async ([name, entry]: [string, unknown]) => [name, await replacePictures(entry, depth - 1)] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

type Drawable = ImageData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas;

function isDrawable(value: object): value is Drawable {
  return (
    (typeof ImageData !== 'undefined' && value instanceof ImageData) ||
    (typeof ImageBitmap !== 'undefined' && value instanceof ImageBitmap) ||
    (typeof HTMLImageElement !== 'undefined' && value instanceof HTMLImageElement) ||
    (typeof HTMLCanvasElement !== 'undefined' && value instanceof HTMLCanvasElement) ||
    (typeof OffscreenCanvas !== 'undefined' && value instanceof OffscreenCanvas)
  );
}

/** PNG without loss. Opacity is dropped here already: a canvas would round colours that are not opaque. */
async function toFile(source: Drawable): Promise<Blob> {
  try {
    const pixels = source instanceof ImageData ? copyOf(source) : await readPixels(source);
    for (let alpha = 3; alpha < pixels.data.length; alpha += 4) pixels.data[alpha] = 255;
    const { canvas, context } = makeCanvas(pixels.width, pixels.height);
    context.putImageData(pixels, 0, 0);
    return await canvas.convertToBlob({ type: 'image/png' });
  } catch (cause) {
    if (cause instanceof DarkroomError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw fail('invalidImage', `A picture of the page cannot be read: ${reason}`, {
      hint: 'A picture of another site can be read only if that site allows it (crossorigin="anonymous").',
      cause,
    });
  }
}

function copyOf({ data, width, height }: ImageData): ImageData {
  return new ImageData(new Uint8ClampedArray(data), width, height);
}

async function readPixels(source: Exclude<Drawable, ImageData>): Promise<ImageData> {
  if (typeof HTMLImageElement !== 'undefined' && source instanceof HTMLImageElement) await source.decode();
  const [width, height] =
    'naturalWidth' in source ? [source.naturalWidth, source.naturalHeight] : [source.width, source.height];
  const { context } = makeCanvas(width, height);
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function makeCanvas(
  width: number,
  height: number,
): { readonly canvas: OffscreenCanvas; readonly context: OffscreenCanvasRenderingContext2D } {
  if (width < 1 || height < 1) throw fail('invalidImage', `A picture of the page has ${width}×${height} pixels.`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (context === null) throw fail('internalError', 'OffscreenCanvas has no 2d context.');
  return { canvas, context };
}
