/**
 * @file `npm run generate -- "a red house on a hill" --out DIR`: pictures without a page, through the same pipeline as the worker.
 * Writes the pictures and `response.json` (wire form); exit status 1 with the wire errors on standard error, 130 after Ctrl+C.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, toWireErrors, type DarkroomError, type WireError } from '../src/base/errors.js';
import { PARAMETER_OPTIONS, readParameters } from './lib/parameters.js';
import { generateInChromium, generateInNode, type Generated } from './lib/generate-backends.js';
import { prepareFolder, writeWhole } from './lib/generate-output.js';
import { stopOnSignals } from './lib/generate-stop.js';
import { withLocalPictures } from './lib/local-pictures.js';
import { createProgressLine } from './lib/progress-line.js';
import { toJsonText, toResponse, uuidOf, type SavedResult } from './lib/response.js';

const USAGE = `Usage: npm run generate -- [PROMPT] [options]
  PROMPT              the positive prompt of one request
  --request FILE      a task object or an array of tasks (JSON, wire form); options below override a single task's fields.
                      Pictures (guideImage, inputImage, image, …) may be paths, from the file's folder on
  --out DIR           where pictures and response.json go (default: pictures)
  --model NAME=PATH   registers a model folder or .safetensors file under NAME (an AIR or a plain name), and uses it when the
                      request names no model; repeatable. --model NAME alone chooses a registered one (the bundled one is
                      darkroom:1@1), a Hub repo (huggingface:owner/repo) or a URL
  --details NAME=JSON what registerModel() takes besides the source, of a model that --model registers; repeatable
  --backend B         wasm (Node, the default) or webgpu (headless Chromium)
  --quiet             no progress
${PARAMETER_OPTIONS.map(({ flag, help }) => `  ${`--${flag}`.padEnd(19)} ${help}`).join('\n')}`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...Object.fromEntries(PARAMETER_OPTIONS.map(({ flag }) => [flag, { type: 'string' as const }])),
      request: { type: 'string' },
      out: { type: 'string', default: 'pictures' },
      model: { type: 'string', multiple: true },
      details: { type: 'string', multiple: true },
      backend: { type: 'string', default: 'wasm' },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  if (positionals.length > 1) throw usage(`Got ${positionals.length} prompts; put the prompt in quotes.`);
  if (values.backend !== 'wasm' && values.backend !== 'webgpu')
    throw usage(`--backend is "${values.backend}"; expected wasm or webgpu.`);
  if (values.out === '') throw usage('--out is empty; expected a folder.');

  const { paths, chosen } = readModels(values.model ?? []);
  const details = readDetails(values.details ?? [], paths);
  const fields = {
    ...readParameters(values),
    ...(positionals[0] === undefined ? {} : { positivePrompt: positionals[0] }),
  };
  const request = await readRequest(values.request, fields, chosen);
  const out = resolve(values.out);
  await prepareFolder(out);
  const line = createProgressLine(process.stderr, values.quiet);
  const stop = stopOnSignals(process, (text) => console.error(text));
  const run = values.backend === 'webgpu' ? generateInChromium : generateInNode;
  const { results, errors } = await run(request, { paths, details }, line.show, stop.signal).finally(line.end);
  const saved = await save(results, out);
  await writeWhole(join(out, 'response.json'), `${toJsonText(toResponse(saved, errors))}\n`);
  stop.release();
  for (const { file } of saved) console.log(join(values.out, file));
  if (errors.length > 0) console.error(toJsonText({ errors }));
  return stop.status() ?? (errors.length > 0 ? 1 : 0);
}

function usage(message: string): DarkroomError {
  return fail('invalidRequest', message, { hint: 'npm run generate -- --help' });
}

/** `NAME=PATH` registers; a bare `NAME`, or a URL, chooses. The first one named is what a request without a model gets. */
function readModels(options: readonly string[]): {
  readonly paths: Readonly<Record<string, string>>;
  readonly chosen: string | undefined;
} {
  const paths = new Map<string, string>();
  const names = options.map((option) => {
    const cut = /^https?:\/\//i.test(option) ? -1 : option.indexOf('=');
    if (cut < 0) return { name: option, bare: true };
    const [name, path] = [option.slice(0, cut), option.slice(cut + 1)];
    if (name === '' || path === '') throw usage(`--model is "${option}"; expected NAME=PATH or NAME.`);
    paths.set(name, resolve(path));
    return { name, bare: false };
  });
  return { paths: Object.fromEntries(paths), chosen: (names.find(({ bare }) => bare) ?? names[0])?.name };
}

/** `NAME=JSON`. What the JSON says is checked where models are registered. */
function readDetails(
  options: readonly string[],
  paths: Readonly<Record<string, string>>,
): Readonly<Record<string, object>> {
  return Object.fromEntries(
    options.map((option) => {
      const name = option.slice(0, Math.max(0, option.indexOf('=')));
      if (!Object.hasOwn(paths, name))
        throw usage(`--details is "${option}"; expected NAME=JSON, with a NAME of --model NAME=PATH.`);
      const json = parseRequestJson(option.slice(name.length + 1), `What --details says of ${name}`);
      if (!isObject(json)) throw usage(`--details of ${name} must be a JSON object.`);
      return [name, json];
    }),
  );
}

/** The raw request: the file's, or one made of the options. Nothing is checked here: the pipeline does. */
async function readRequest(
  path: string | undefined,
  fields: Readonly<Record<string, unknown>>,
  model: string | undefined,
): Promise<unknown> {
  const given = await withLocalPictures(fields, process.cwd());
  if (path === undefined) return { ...defaultsFor(fields, model), ...fieldsOf(given) };
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fail(
      'invalidRequest',
      `The request file ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}.`,
    );
  });
  const json = parseRequestJson(text.replace(/^\ufeff/, ''), `The request file ${path}`);
  const folder = dirname(resolve(path));
  if (!Array.isArray(json)) {
    const task = fieldsOf(await withLocalPictures(json, folder));
    return isObject(json) ? { ...defaultsFor(json, model), ...task, ...fieldsOf(given) } : json;
  }
  if (Object.keys(fields).length > 0)
    throw usage('Options for parameters go with a prompt or a single task, not with an array of tasks.');
  return Promise.all(
    json.map(async (task: unknown) => {
      if (!isObject(task)) return task;
      const own = fieldsOf(await withLocalPictures(task, folder));
      return { taskUUID: crypto.randomUUID(), ...defaultsFor(task, model), ...own };
    }),
  );
}

/** What a task of the command line has besides its own fields; an upload takes neither. */
function defaultsFor(
  task: Readonly<Record<string, unknown>>,
  model: string | undefined,
): Readonly<Record<string, string>> {
  const { taskType = 'imageInference' } = task;
  if (taskType === 'imageUpload') return {};
  return { outputFormat: 'PNG', ...(model === undefined || taskType !== 'imageInference' ? {} : { model }) };
}

function fieldsOf(task: unknown): Readonly<Record<string, unknown>> {
  return isObject(task) ? task : {};
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** JSON, except that a seed beyond 2^53 keeps its digits (as a string, which the request takes). */
function parseRequestJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text.replace(/("seed"\s*:\s*)(-?\d{16,})(?=\s*[,}])/g, '$1"$2"')) as unknown;
  } catch (error) {
    throw fail('invalidRequest', `${what} is not JSON: ${error instanceof Error ? error.message : String(error)}.`);
  }
}

const EXTENSIONS = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/bmp': 'bmp',
} as const;

async function save(results: readonly Generated[], out: string): Promise<readonly SavedResult[]> {
  const saved: SavedResult[] = [];
  for (const { facts, bytes } of results) {
    const file = `${uuidOf(facts)}.${EXTENSIONS[facts.mime]}`;
    await writeWhole(join(out, file), bytes);
    saved.push({ facts, file, base64: Buffer.from(bytes).toString('base64') });
  }
  return saved;
}

// Whoever reads may have gone: `npm run generate … | head -1`.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

process.exitCode = await main().catch((error: unknown) => {
  const errors: readonly WireError[] = isOfOptions(error)
    ? [{ code: 'invalidRequest', message: error.message, hint: 'npm run generate -- --help' }]
    : toWireErrors(error);
  console.error(toJsonText({ errors }));
  return 1;
});

/** What `parseArgs` says of the options. */
function isOfOptions(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
