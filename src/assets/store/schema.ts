/** @file Which version of Darkroom's store is on a disk: older ones are brought up to date, newer ones are left alone. */
import { fields } from '../../base/fields.js';
import type { Disk } from './disk.js';
import { SCHEMA } from './records.js';
import { readRecord, writeRecord } from './slots.js';

/** Turns a store of one schema into one of the next. May be cut off and begun again at any point. */
export type Migration = (disk: Disk) => Promise<void>;

/** From schema 1, from 2, …; 1 is the first. */
const MIGRATIONS: readonly Migration[] = [];

const NAME = 'schema';

/**
 * Makes a disk ready for this version.
 * @returns why the disk cannot be used: a newer version has written it. Then nothing was changed
 */
export async function prepareDisk(
  disk: Disk,
  {
    schema = SCHEMA,
    migrations = MIGRATIONS,
  }: { readonly schema?: number; readonly migrations?: readonly Migration[] } = {},
): Promise<string | undefined> {
  const record = await readRecord(disk, NAME);
  const range = { min: 1, max: Number.MAX_SAFE_INTEGER };
  let found = record === undefined ? schema : fields(record, NAME).integer('schema', undefined, range);
  if (found > schema) {
    return `The stored models were written by a newer version of Darkroom (schema ${found}; this one has ${schema}).`;
  }
  for (; found < schema; found++) {
    await migrations[found - 1]?.(disk);
    await writeRecord(disk, NAME, { schema: found + 1 });
  }
  if (record === undefined) await writeRecord(disk, NAME, { schema });
  return undefined;
}
