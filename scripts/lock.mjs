/** @file A lock between processes: one folder per lock, kept fresh by its owner, so that a killed owner blocks nobody. Node only, no packages. */
import { mkdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT, say } from './process.mjs';

/**
 * Runs `work` while no other process of this project runs work under the same name.
 *
 * The owner touches its folder every `staleMs / 8`; a folder untouched for `staleMs` belongs to a process that was killed,
 * and is taken away. Process ids are not used: containers reuse them.
 *
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @param {{ folder?: string, staleMs?: number }} [options]
 * @returns {Promise<T>}
 */
export async function withLock(name, work, { folder = join(ROOT, '.cache'), staleMs = 16_000 } = {}) {
  const path = join(folder, `${name}.lock`);
  mkdirSync(folder, { recursive: true });
  for (let waits = 0; !tryMakeFolder(path); waits += 1) {
    if (waits === 5) say(`darkroom: waiting for another process (${name}) …`);
    if (ageMs(path) > staleMs) takeAway(path, staleMs);
    else await sleep(200);
  }
  const release = () => rmSync(path, { recursive: true, force: true });
  const touch = setInterval(() => refresh(path), staleMs / 8);
  process.on('exit', release);
  try {
    return await work();
  } finally {
    clearInterval(touch);
    process.off('exit', release);
    release();
  }
}

/** @param {string} path */
function tryMakeFolder(path) {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** @param {string} path */
function ageMs(path) {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
}

/**
 * Removes a folder whose owner was killed. Renaming is atomic, so of two processes that see it, one takes it and the other
 * tries again; one that came so late that it took the new owner's folder puts that back.
 *
 * @param {string} path
 * @param {number} staleMs
 */
function takeAway(path, staleMs) {
  const away = `${path}.${process.pid}.${Date.now()}`;
  try {
    renameSync(path, away);
    if (ageMs(away) > staleMs) rmSync(away, { recursive: true });
    else renameSync(away, path);
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error; // another process was first
  }
}

/** @param {string} path */
function refresh(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error; // taken away while this computer slept
  }
}

/** @param {unknown} error @param {string} code */
function isCode(error, code) {
  return error instanceof Error && 'code' in error && error.code === code;
}
