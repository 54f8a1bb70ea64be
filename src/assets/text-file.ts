/** @file Reading the small text and JSON files of a model, with a limit on their size. */
import { fail } from '../base/errors.js';
import { foreignFile, isMarkup } from './file-kind.js';
import { parseJson } from './json.js';
import type { ByteSource } from './source.js';

/** Limit for configs, in bytes; real ones are a few KB. */
export const CONFIG_LIMIT = 1 << 20;
/** Limit for vocabularies, merges and shard indexes, in bytes; real ones are up to a few MB. */
export const TABLE_LIMIT = 32 << 20;

/**
 * A whole UTF-8 file as text, without its byte order mark.
 * @throws invalidModelConfig when it is longer than `limitBytes` or not UTF-8
 */
export async function readText(source: ByteSource, limitBytes: number, signal?: AbortSignal): Promise<string> {
  return decode(source, await readWhole(source, limitBytes, signal));
}

/**
 * A whole JSON file, as Python writes them (see `json.ts`).
 * @throws invalidModelConfig with file and position, or saying what the file is instead
 */
export async function readJson(source: ByteSource, limitBytes: number, signal?: AbortSignal): Promise<unknown> {
  const bytes = await readWhole(source, limitBytes, signal);
  if (bytes.length === 0 || isMarkup(bytes)) throw foreignFile(source.name, bytes, 'JSON', 'invalidModelConfig');
  const text = decode(source, bytes);
  if (text.startsWith('version https://git-lfs')) throw foreignFile(source.name, bytes, 'JSON', 'invalidModelConfig');
  return parseJson(text, source.name, { dialect: 'python', code: 'invalidModelConfig' });
}

async function readWhole(source: ByteSource, limitBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
  if (source.size > limitBytes) {
    throw fail(
      'invalidModelConfig',
      `${source.name} has ${source.size} bytes; at most ${limitBytes} are accepted for such a file.`,
    );
  }
  return source.read(0, source.size, signal);
}

function decode(source: ByteSource, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw fail('invalidModelConfig', `${source.name} is not UTF-8 text.`, { cause });
  }
}
