/**
 * @file Comparing a run with a golden of the transformer families: one file of tensors for all pictures of a case, under the names that the
 * pipeline traces; sequences are packed there.
 */
import { decodePng } from '../../src/image/png.js';
import type { WirePicture } from '../../src/pipeline/events.js';
import { readTensors, type GoldenFolder } from './files.js';
import { compare, type Comparison } from './report.js';
import type { Tolerance } from './tolerances.js';

/** The parts of such a `case.json` that matter here. */
export interface TransformerCase {
  readonly family: string;
  readonly schedule: { readonly sigmas: readonly number[]; readonly timesteps: readonly number[] };
  readonly files: { readonly tensors: string; readonly images: readonly string[] };
  /** Name → type and shape, e.g. `float32[2, 16, 16, 16]`. */
  readonly tensors: Readonly<Record<string, string>>;
}

/** What one picture showed while it was made. */
export type Traced = ReadonlyMap<string, Float32Array | Int32Array>;

export function isTransformerCase(json: object): json is TransformerCase {
  return 'schedule' in json;
}

/** What the pipeline calls what a golden has under another name. */
const OUR_NAMES: readonly (readonly [golden: RegExp, ours: string])[] = [
  [/^vae\.input$/, 'decode.input'],
  [/^image$/, 'decoded'],
];

/** Inside of the transformer: the tests of its graph compare these. */
const INSIDE = /^(block|rope|ids|latents)\./;

export async function compareTransformerCase(
  folder: GoldenFolder,
  name: string,
  golden: TransformerCase,
  traces: readonly Traced[],
  pictures: readonly WirePicture[],
): Promise<readonly Comparison[]> {
  const { images } = golden.files;
  const tensors = await readTensors(folder, `cases/${name}/${golden.files.tensors}`);
  const { schedule } = golden;
  // Latents of guides are drawn before the start noise.
  const before = [...tensors.keys()].filter((key) => /^control\.\d+\.mean$/.test(key)).length;
  // What a ControlNet sees that never acts is not made.
  const unseen = (key: string): boolean => {
    const guide = /^control\.\d+\./.exec(key)?.[0];
    return guide !== undefined && traces[0]?.has(`${guide}packed`) === false;
  };
  const out: Comparison[] = [
    compare('pictures made', [pictures.length], [images.length], EXACT),
    compare('timesteps', traces[0]?.get('scheduler.timesteps') ?? [], schedule.timesteps, within(2e-4, 1e-6)),
    compare('sigmas', traces[0]?.get('scheduler.sigmas') ?? [], schedule.sigmas, within(1e-7, 1e-6)),
  ];
  for (const [i, image] of images.entries()) {
    const label = (key: string): string => (images.length > 1 ? `picture ${i}: ${key}` : key);
    for (const [key, all] of tensors) {
      if (INSIDE.test(key) || unseen(key)) continue;
      const rows = Number(/\[(\d+)/.exec(golden.tensors[key] ?? '')?.[1] ?? 1);
      const size = all.length / rows;
      const expected = all.subarray(rows > 1 ? i * size : 0, rows > 1 ? (i + 1) * size : size);
      const ours = nameOf(key, before);
      // Text is encoded once for all pictures, and shown with the first.
      const got = traces[i]?.get(ours) ?? (/(^|\.)(clip|t5)\./.test(key) ? traces[0]?.get(ours) : undefined);
      out.push(compare(label(key), got ?? [], expected, toleranceOf(key, expected, before > 0)));
    }
    const picture = pictures[i];
    const [made, wanted] = [
      picture && (await decodePng(picture.bytes)),
      await decodePng(await folder.read(`cases/${name}/${image}`)),
    ];
    out.push(compare(label('size'), [made?.width ?? 0, made?.height ?? 0], [wanted.width, wanted.height], EXACT));
    out.push(compare(label('pixels'), made?.data ?? [], wanted.data, within(1)));
  }
  return out;
}

/** Noise inside of a run is drawn after the start noise, before which there were `before` draws. */
function nameOf(key: string, before: number): string {
  if (key === 'noise') return `noise.${before}`;
  const step = /^step\.(\d+)\.noise$/.exec(key)?.[1];
  if (step !== undefined) return `noise.${before + Number(step) + 1}`;
  return OUR_NAMES.find(([pattern]) => pattern.test(key))?.[1] ?? key;
}

const within = (absolute: number, relative = 0): Tolerance => ({ absolute, relative });
const EXACT = within(0);

/**
 * With ControlNets the network sees latents of guides, which are the end of another network (`controlled`): single outputs too are then made by several,
 * and the latents, on the CPU, are known to three thousandths.
 *
 * Ids and noise are integers and bits. Encoders and single outputs of the transformer may be off by 1e-4 of the standard deviation; what the
 * sampler makes of several of them by 1e-3, latents and decoded pictures too.
 */
function toleranceOf(key: string, expected: Float64Array, controlled: boolean): Tolerance {
  if (/input_ids$|noise$/.test(key)) return EXACT;
  if (/\.(timestep|guidance)$/.test(key)) return within(1e-6, 1e-6);
  const first = !controlled && /^step\.0\./.test(key) && !key.endsWith('latents');
  const once = first || /hidden$|pooled$/.test(key);
  const guide = /^control\.\d+\./.test(key);
  return within((once ? 1e-4 : guide ? 3e-3 : 1e-3) * deviation(expected));
}

function deviation(values: Float64Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}
