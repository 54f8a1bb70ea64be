/** @file Where the command line makes its pictures: in this process on the CPU, or in headless Chromium on the GPU. */
import { statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fail, throwIfAborted, type WireError } from '../../src/base/errors.js';
import type { ProgressEvent, WireEvent } from '../../src/pipeline/events.js';
import type { Harness } from '../page/harness.js';
import { BUNDLED_MODEL, createNodeEngine, DEFAULT_MODEL } from './node-engine.js';
import { openServedPage } from './served-page.js';
import { uuidOf, type ResultFacts } from './response.js';

export interface Generated {
  readonly facts: ResultFacts;
  readonly bytes: Uint8Array;
}

export interface GenerateResult {
  readonly results: readonly Generated[];
  readonly errors: readonly WireError[];
}

/** Models that were named on the command line. */
export interface NamedModels {
  /** Name → folder or weight file on disk. */
  readonly paths: Readonly<Record<string, string>>;
  /** Name → what is said of it, as in `registerModel()`. */
  readonly details: Readonly<Record<string, object>>;
}

/** @param request one request or an array of tasks, unchecked */
export type Generate = (
  request: unknown,
  models: NamedModels,
  onProgress: (event: ProgressEvent) => void,
  /** What is finished when it fires is part of the result, beside `aborted`. */
  signal: AbortSignal,
) => Promise<GenerateResult>;

export const generateInNode: Generate = async (request, { paths, details }, onProgress, signal) => {
  const engine = createNodeEngine({ models: paths, details });
  const made: Generated[] = [];
  try {
    const { pictures, errors } = await engine.run(request, {
      signal,
      onEvent(event) {
        if (event.kind === 'progress') onProgress(event);
        const result = resultOf(event);
        if (result !== undefined) made.push(result);
      },
    });
    const later = new Map(pictures.map(({ imageUUID, warnings = [] }) => [imageUUID, warnings]));
    return { results: made.map((result) => withWarnings(result, later.get(uuidOf(result.facts)) ?? [])), errors };
  } finally {
    await engine.dispose();
  }
};

function resultOf(event: WireEvent): Generated | undefined {
  switch (event.kind) {
    case 'picture': {
      const { bytes, ...facts } = event.picture;
      return { facts, bytes };
    }
    case 'guide': {
      const { bytes, ...facts } = event.guide;
      return { facts, bytes };
    }
    case 'upload': {
      const { bytes, ...facts } = event.upload;
      return { facts, bytes };
    }
    case 'progress':
    case 'preview':
    case 'evict':
      return undefined; // told on the way
    default:
      return event satisfies never;
  }
}

/** What showed after the result was sent. */
function withWarnings({ facts, bytes }: Generated, warnings: readonly string[]): Generated {
  return { facts: { ...facts, warnings: [...facts.warnings, ...warnings] }, bytes };
}

export const generateInChromium: Generate = async (request, { paths, details }, onProgress, signal) => {
  // Names may hold any character; URLs get plain keys.
  const served = Object.entries({ [DEFAULT_MODEL]: BUNDLED_MODEL, ...paths }).map(([name, path], i) => {
    const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
    const key = `model-${i}`;
    return {
      name,
      key,
      folder: isFile ? dirname(path) : path,
      url: isFile ? `${key}/${encodeURIComponent(basename(path))}` : key,
    };
  });
  const harness = await openServedPage(Object.fromEntries(served.map(({ key, folder }) => [key, folder])));
  const close = (): void => void harness.close().catch(() => undefined); // what it was asked then rejects
  signal.addEventListener('abort', close);
  try {
    throwIfAborted(signal);
    await harness.page.exposeFunction('reportProgress', onProgress);
    const models = Object.fromEntries(served.map(({ name, url }) => [name, url]));
    const { results, errors } = await harness.page.evaluate(
      ([input, options]) => (Reflect.get(globalThis, 'harness') as Harness).generate(JSON.parse(input), options),
      [JSON.stringify(request), { backend: 'webgpu' as const, models, details }] as const,
    );
    return {
      errors,
      results: results.map(({ facts, base64 }) => ({
        facts: 'seed' in facts ? { ...facts, seed: BigInt(facts.seed) } : facts,
        bytes: Buffer.from(base64, 'base64'),
      })),
    };
  } catch (error) {
    throw signal.aborted ? fail('aborted', 'The task was aborted.', { cause: error }) : error;
  } finally {
    signal.removeEventListener('abort', close);
    if (!signal.aborted) await harness.close();
  }
};
