/** @file The store's records, and reading them back: what another version wrote, or what is damaged, counts as not there. */
import { DarkroomError } from '../../base/errors.js';
import { fields, type Fields } from '../../base/fields.js';
import type { Expected, PartialFile } from '../download/download.js';
import { parseRanges } from '../download/ranges.js';
import { parseVersion, type FileVersion } from '../download/version.js';
import type { Disk } from './disk.js';
import { readRecord } from './slots.js';

/** Raised when what is on the disk means something else than before; see `schema.ts`. */
export const SCHEMA = 1;

/** A file that is whole: its record is written last, after its data is safe. */
export interface FileRecord {
  readonly kind: 'file';
  /** Identity of the model that it was fetched for. */
  readonly model: string;
  /** For people, without query. */
  readonly url: string;
  /** The disk's name of its data. */
  readonly data: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Whether that hash was expected, by the Hub or by a card; otherwise it says only that nothing changed since. */
  readonly expected: boolean;
  readonly version: FileVersion;
  /** Its address never means other bytes. */
  readonly fixed: boolean;
  /** The server has another version now. */
  readonly stale: boolean;
  /** Milliseconds since 1970. */
  readonly storedAt: number;
}

/** A file that was made of others of its model. It is whole: its record is written last, too. */
export interface DerivedRecord {
  readonly kind: 'derived';
  readonly model: string;
  readonly data: string;
  readonly bytes: number;
  /** What it was made of, and how: under another key it is of no use. */
  readonly key: string;
  readonly storedAt: number;
}

/** There is no such file, as was seen: without this, a model that was whole could not be opened offline. */
export interface AbsentRecord {
  readonly kind: 'absent';
  readonly model: string;
  readonly url: string;
}

export type AnyRecord = FileRecord | DerivedRecord | AbsentRecord;

/** A file that is on its way. */
export interface JournalRecord {
  readonly model: string;
  /** Absent: it is not downloaded, but made. */
  readonly url?: string | undefined;
  /** That of a file that is made. */
  readonly key?: string | undefined;
  readonly data: string;
  readonly partial: PartialFile;
  readonly savedAt: number;
}

/** What is remembered of a model as a whole. */
export interface ModelRecord {
  /** For people, without query. */
  readonly address: string;
  readonly title: string;
  readonly pinned: boolean;
  readonly usedAt: number;
  /** When its files were last compared with the server's. */
  readonly checkedAt: number;
}

/** Whether a stored file is another than the one that is asked for by its hash. */
export function hasOtherHash(record: FileRecord | AbsentRecord, { sha256 }: Expected): boolean {
  return record.kind === 'file' && sha256 !== undefined && sha256.toLowerCase() !== record.sha256;
}

/** Whether there is a file, and not the memory of its absence. */
export function hasData(record: AnyRecord | undefined): record is FileRecord | DerivedRecord {
  return record !== undefined && record.kind !== 'absent';
}

export const names = {
  file: (id: string): string => `f-${id}`,
  journal: (id: string): string => `j-${id}`,
  model: (id: string): string => `m-${id}`,
  /** @param nth makes the data of each download another file */
  data: (id: string, nth: string): string => `d-${id}-${nth}`,
} as const;

/** The identity of what a data file belongs to. */
export function ownerOfData(name: string): string | undefined {
  return /^d-([0-9a-f]{32})-[0-9a-z]+$/.exec(name)?.[1];
}

export async function readAnyRecord(disk: Disk, id: string): Promise<AnyRecord | undefined> {
  return parse(await readRecord(disk, names.file(id)), (f): AnyRecord => {
    const model = f.text('model');
    const kind = f.oneOf('kind', ['file', 'derived', 'absent']);
    if (kind === 'absent') return { kind, model, url: f.text('url') };
    const stored = { model, data: f.text('data'), bytes: count(f, 'bytes'), storedAt: count(f, 'storedAt') };
    if (kind === 'derived') return { kind, ...stored, key: f.text('key') };
    return {
      kind,
      ...stored,
      url: f.text('url'),
      sha256: f.text('sha256'),
      expected: f.boolean('expected'),
      version: parseVersion(f.raw('version'), 'version'),
      fixed: f.boolean('fixed'),
      stale: f.boolean('stale'),
    };
  });
}

/** The record of a file that has an address. */
export async function readFileRecord(disk: Disk, id: string): Promise<FileRecord | AbsentRecord | undefined> {
  const record = await readAnyRecord(disk, id);
  return record?.kind === 'derived' ? undefined : record;
}

/** The record of a file that was made. */
export async function readDerivedRecord(disk: Disk, id: string): Promise<DerivedRecord | undefined> {
  const record = await readAnyRecord(disk, id);
  return record?.kind === 'derived' ? record : undefined;
}

export async function readJournal(disk: Disk, id: string): Promise<JournalRecord | undefined> {
  return parse(await readRecord(disk, names.journal(id)), (f) => {
    const partial = fields(f.raw('partial'), 'partial');
    const version = parseVersion(partial.raw('version'), 'version');
    const done = parseRanges(partial.raw('done'), version.size ?? 0);
    if (done === undefined) throw partial.error('done', 'sorted ranges inside the file');
    return {
      model: f.text('model'),
      ...(f.has('url') ? { url: f.text('url') } : {}),
      ...(f.has('key') ? { key: f.text('key') } : {}),
      data: f.text('data'),
      partial: { version, done },
      savedAt: count(f, 'savedAt'),
    };
  });
}

export async function readModelRecord(disk: Disk, id: string): Promise<ModelRecord | undefined> {
  return parse(await readRecord(disk, names.model(id)), (f) => ({
    address: f.text('address'),
    title: f.text('title'),
    pinned: f.boolean('pinned'),
    usedAt: count(f, 'usedAt'),
    checkedAt: count(f, 'checkedAt'),
  }));
}

function count(f: Fields, key: string): number {
  return f.integer(key, undefined, { min: 0, max: Number.MAX_SAFE_INTEGER });
}

function parse<T>(json: unknown, read: (f: Fields) => T): T | undefined {
  if (json === undefined) return undefined;
  try {
    return read(fields(json, 'a record of the store'));
  } catch (error) {
    if (error instanceof DarkroomError) return undefined;
    throw error;
  }
}
