/** @file The folder that the command line writes into: made and tried before anything is computed; files appear there whole or not at all. */
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fail, type DarkroomError } from '../../src/base/errors.js';

/**
 * Makes the folder where there is none, and tries to write in it: who waits an hour for a picture wants to know before.
 * @throws invalidRequest with the system's reason
 */
export async function prepareFolder(folder: string): Promise<void> {
  const trial = join(folder, `.darkroom-${crypto.randomUUID()}`);
  try {
    await makeFolder(folder);
    await writeFile(trial, '');
  } catch (error) {
    throw unwritable(`The folder ${folder} of --out cannot be written to`, error);
  }
  await rm(trial, { force: true });
}

/** One folder after the other: `recursive` of Node goes round for ever where a folder vanishes as it is made (`/proc`). */
async function makeFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() === true) return;
  if (found === undefined && dirname(folder) !== folder) await makeFolder(dirname(folder));
  await mkdir(folder);
}

/** Writes a file beside its place and moves it there, so that nobody finds half of it. @throws invalidRequest with the system's reason */
export async function writeWhole(path: string, contents: string | Uint8Array): Promise<void> {
  const part = `${path}.part`;
  try {
    await writeFile(part, contents);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true }).catch(() => undefined); // what is wrong with the folder is said already
    throw unwritable(`${path} cannot be written`, error);
  }
}

function unwritable(what: string, error: unknown): DarkroomError {
  const reason = error instanceof Error ? error.message : String(error);
  return fail('invalidRequest', `${what}: ${reason}.`, {
    hint: 'Give --out a folder that can be written to and has room.',
  });
}
