/** @file What a page calls a model and its source (a URL, chosen files, a handle) → plain data for the worker. May import base. */
import { fail } from '../base/errors.js';
import type { ModelRegistration, ModelSource } from './types.js';
import type { WireModel, WireModelSource } from './wire.js';

interface PathAndFile {
  readonly path: string;
  readonly file: File;
}

/** A model folder has a few dozen files; a home folder chosen by mistake has more than these. */
const MAX_FILES = 5_000;
const MAX_DEPTH = 6;

/** `huggingface:` is not a URL's; the worker knows it. */
const PROTOCOLS: readonly string[] = ['http:', 'https:', 'blob:', 'file:', 'huggingface:'];

/** @throws as {@link toWireSource}; what is said of the model is checked by the worker */
export async function toWireModel(
  { source, ...said }: ModelRegistration,
  base: string | undefined,
): Promise<WireModel> {
  if (typeof said.air !== 'string' || said.air.trim() === '') {
    throw fail('invalidModel', 'A model needs an AIR or a name, got an empty one.', {
      parameter: 'model',
      type: 'string',
    });
  }
  return { ...said, source: await toWireSource(source, base) };
}

/**
 * @param base what relative URLs are relative to; the page's own URL.
 * @throws `invalidModel` for a URL that is not http(s), blob, file or huggingface:, or a folder too large to be a model; `missingModelFile` for no files.
 */
export async function toWireSource(source: ModelSource, base: string | undefined): Promise<WireModelSource> {
  if (typeof source === 'string' || source instanceof URL) return { kind: 'url', url: checkedUrl(source, base) };
  const files = await listFiles(source);
  if (files.length === 0) {
    throw fail('missingModelFile', 'The chosen folder is empty: expected the files of a model.', {
      hint: 'Choose the folder that holds model_index.json, or a .safetensors or .gguf file.',
    });
  }
  return { kind: 'files', files };
}

function checkedUrl(source: string | URL, base: string | undefined): string {
  const url = URL.canParse(source, base) ? new URL(source, base) : undefined;
  if (url !== undefined && PROTOCOLS.includes(url.protocol)) return url.href;
  throw fail(
    'invalidModel',
    `The model's address is ${JSON.stringify(String(source))}; expected an http or https URL, or huggingface:owner/repo.`,
    {
      parameter: 'model',
    },
  );
}

async function listFiles(source: Exclude<ModelSource, string | URL>): Promise<readonly PathAndFile[]> {
  if ('kind' in source && source.kind === 'file') return listFiles(await source.getFile());
  if ('kind' in source && source.kind === 'directory') {
    const files: PathAndFile[] = [];
    for await (const entry of walk(source, '', 0)) {
      files.push(entry);
      checkCount(files.length);
    }
    return files;
  }
  const files = source instanceof Blob ? [source] : Array.from(source);
  checkCount(files.length);
  return files
    .map((file) => ({ path: file.webkitRelativePath || file.name, file }))
    .filter(({ path }) => !isHidden(path));
}

async function* walk(folder: FileSystemDirectoryHandle, prefix: string, depth: number): AsyncGenerator<PathAndFile> {
  for await (const [name, handle] of folder.entries()) {
    const path = prefix + name;
    if (isHidden(name)) continue;
    if (isFile(handle)) yield { path, file: await handle.getFile() };
    else if (isFolder(handle) && depth < MAX_DEPTH) yield* walk(handle, `${path}/`, depth + 1);
  }
}

function isFile(handle: FileSystemHandle): handle is FileSystemFileHandle {
  return handle.kind === 'file';
}

function isFolder(handle: FileSystemHandle): handle is FileSystemDirectoryHandle {
  return handle.kind === 'directory';
}

/** `.git`, `.cache` and the like hold no part of a model. */
function isHidden(path: string): boolean {
  return path.split('/').some((segment) => segment.startsWith('.'));
}

function checkCount(count: number): void {
  if (count <= MAX_FILES) return;
  throw fail(
    'invalidModel',
    `The chosen folder holds more than ${MAX_FILES} files; expected the folder of one model.`,
    {
      parameter: 'model',
    },
  );
}
