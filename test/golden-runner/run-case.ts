/** @file One end-to-end case: its request through the engine, every intermediate it holds compared, and the picture. */
import { toWireErrors, type WireError } from '../../src/base/errors.js';
import { decodePng } from '../../src/image/png.js';
import type { WirePicture } from '../../src/pipeline/events.js';
import type { Engine } from '../../src/pipeline/engine.js';
import { readGoldenJson, readTensors, type GoldenFolder } from './files.js';
import { compare, isWithin, type Comparison, type Outcome } from './report.js';
import { toleranceOf, type CaseTolerance } from './tolerances.js';
import { compareTransformerCase, isTransformerCase } from './transformer-case.js';

/** The parts of `case.json` that matter here. */
interface GoldenCase {
  readonly request: Readonly<Record<string, unknown>>;
  readonly seeds: readonly (number | string)[];
  readonly files: { readonly tensors: readonly string[]; readonly images: readonly string[] };
  readonly tolerance: CaseTolerance;
  /** Where a model of one file has its configs, tokenizers and missing parts. */
  readonly configFrom?: string;
  /** Rules that the request alone does not say. */
  readonly assume?: Readonly<Record<string, unknown>>;
  /** The call of the library that made it. */
  readonly oracle?: { readonly call?: { readonly control_mode?: number | null | readonly (number | null)[] } };
  readonly scheduler: { readonly timesteps: readonly number[]; readonly sigmas?: readonly (number | string)[] };
}

/** What a case may assume beyond its request, and what this build does (goldens of the other choice are for comparison). */
const OUR_RULES: Readonly<Record<string, unknown>> = { eta: 0.3, lora_merged: true };

interface PictureTrace {
  readonly order: string[];
  readonly values: Map<string, Float32Array | Int32Array>;
}

/**
 * Makes an engine whose models are the folders or files that the case names.
 * @param base the folder that files take their configs, tokenizers and missing parts from
 */
export type EngineFor = (models: Readonly<Record<string, string>>, base?: string) => Promise<Engine>;

export async function runCase(folder: GoldenFolder, name: string, engineFor: EngineFor): Promise<Outcome> {
  const start = performance.now();
  const finish = (status: Outcome['status'], comparisons: readonly Comparison[], message?: string): Outcome => ({
    kind: 'cases',
    name,
    status,
    comparisons,
    ...(message === undefined ? {} : { message }),
    seconds: (performance.now() - start) / 1000,
  });
  try {
    const json = await readGoldenJson(folder, `cases/${name}/case.json`);
    const golden = json as GoldenCase & { readonly models: Readonly<Record<string, string>> }; // our own test data
    const other = Object.entries(golden.assume ?? {}).find(([rule, value]) => OUR_RULES[rule] !== value);
    if (other !== undefined)
      return finish('unsupported', [], `made by another rule than this build's (${other.join(': ')})`);
    const engine = await engineFor(golden.models, golden.configFrom);
    const traces: PictureTrace[] = [];
    const pictures: WirePicture[] = [];
    const request = {
      ...(await withPictures(folder, name, withModes(golden))),
      outputFormat: 'PNG',
      taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    };
    const { errors } = await engine.run([request], {
      onEvent: (event) => void (event.kind === 'picture' && pictures.push(event.picture)),
      trace: (i) => {
        const trace = (traces[i] ??= { order: [], values: new Map() });
        return (key, data) => {
          if (!trace.values.has(key)) trace.order.push(key);
          trace.values.set(key, data.slice());
        };
      },
    });
    if (errors.length > 0) return finish(errors.every(isUnsupported) ? 'unsupported' : 'failed', [], describe(errors));
    const comparisons = isTransformerCase(golden)
      ? await compareTransformerCase(
          folder,
          name,
          golden,
          traces.map(({ values }) => values),
          pictures,
        )
      : await comparePictures(folder, name, golden, traces, pictures);
    return finish(comparisons.every(isWithin) ? 'passed' : 'failed', comparisons);
  } catch (error) {
    const errors = toWireErrors(error);
    return finish(errors.every(isUnsupported) ? 'unsupported' : 'failed', [], describe(errors));
  }
}

/** The request, with the modes of union ControlNets, which the cloud's request has no word for. */
function withModes({ request, oracle }: GoldenCase): Readonly<Record<string, unknown>> {
  const { controlNet } = request;
  const said = oracle?.call?.control_mode;
  if (!Array.isArray(controlNet) || said === undefined || said === null) return request;
  const modes = typeof said === 'number' ? [said] : said;
  const entries = controlNet.map((entry: unknown, i): object => ({
    ...(Object(entry) as object),
    ...(typeof modes[i] === 'number' ? { unionMode: modes[i] } : {}),
  }));
  return { ...request, controlNet: entries };
}

/** The request, with pictures that it names beside the case as data URIs. */
async function withPictures(folder: GoldenFolder, name: string, request: unknown): Promise<object> {
  const replace = async (value: unknown): Promise<unknown> => {
    if (typeof value === 'string' && /^[\w-]+\.png$/.test(value)) {
      const bytes = await folder.read(`cases/${name}/${value}`);
      return `data:image/png;base64,${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))}`;
    }
    if (Array.isArray(value)) return Promise.all(value.map(replace));
    if (typeof value !== 'object' || value === null) return value;
    const entries: readonly (readonly [string, unknown])[] = Object.entries(value);
    return Object.fromEntries(
      await Promise.all(entries.map(async ([key, inner]) => [key, await replace(inner)] as const)),
    );
  };
  return Object(await replace(request)) as object;
}

async function comparePictures(
  folder: GoldenFolder,
  name: string,
  golden: GoldenCase,
  traces: readonly PictureTrace[],
  pictures: readonly WirePicture[],
): Promise<readonly Comparison[]> {
  const out: Comparison[] = [
    compare('pictures made', [pictures.length], [golden.files.images.length], { absolute: 0, relative: 0 }),
  ];
  for (const [i, image] of golden.files.images.entries()) {
    const trace = traces[i];
    const tensors = golden.files.tensors[i];
    const label = (key: string): string => (golden.files.images.length > 1 ? `picture ${i}: ${key}` : key);
    const expected = new Map(tensors === undefined ? [] : await readTensors(folder, `cases/${name}/${tensors}`));
    expected.set('scheduler.timesteps', Float64Array.from(golden.scheduler.timesteps));
    if (golden.scheduler.sigmas !== undefined)
      expected.set('scheduler.sigmas', withoutRepeats(Float64Array.from(golden.scheduler.sigmas, Number)));
    const finalMaxAbs = Math.max(...(expected.get('latents.final') ?? [1]).map(Math.abs));
    const keys = [
      ...(trace?.order ?? []).filter((key) => expected.has(key)),
      ...[...expected.keys()].filter((key) => trace?.values.has(key) !== true),
    ];
    for (const key of keys) {
      const tolerance = toleranceOf(key, golden.tolerance, finalMaxAbs);
      // Conditioning is made once per request and shown with picture 0.
      const got = trace?.values.get(key) ?? traces[0]?.values.get(key) ?? [];
      out.push(compare(label(key), got, expected.get(key) ?? [], tolerance));
    }
    out.push(...(await comparePixels(folder, `cases/${name}/${image}`, pictures[i], golden, label)));
  }
  return out;
}

/** diffusers stores the levels of two-evaluation schedulers (Heun, KDPM2) once per evaluation; ours are one per step. */
function withoutRepeats(sigmas: Float64Array): Float64Array {
  return sigmas.filter((sigma, i) => i === 0 || sigma !== sigmas[i - 1]);
}

async function comparePixels(
  folder: GoldenFolder,
  path: string,
  picture: WirePicture | undefined,
  golden: GoldenCase,
  label: (key: string) => string,
): Promise<readonly Comparison[]> {
  const expected = await decodePng(await folder.read(path));
  if (picture === undefined) return [compare(label('pixels'), [], expected.data, { absolute: 0, relative: 0 })];
  const got = await decodePng(picture.bytes);
  return [
    compare(
      label('size'),
      [got.width, got.height, got.channels],
      [expected.width, expected.height, expected.channels],
      { absolute: 0, relative: 0 },
    ),
    compare(label('pixels'), got.data, expected.data, toleranceOf('pixels', golden.tolerance, 1)),
  ];
}

function isUnsupported({ code }: WireError): boolean {
  return code.startsWith('unsupported');
}

function describe(errors: readonly WireError[]): string {
  return errors.map(({ code, message }) => `${code}: ${message}`).join(' | ');
}
