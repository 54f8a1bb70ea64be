/** @file The project's own files, for tests about the project: those that git tracks or would track. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root folder. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Paths from the root, with `/`, sorted. */
export function projectPaths(): readonly string[] {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return [...new Set(list.split('\0'))].filter((path) => path !== '' && existsSync(join(ROOT, path))).sort();
}

export function readProjectFile(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Files whose path matches, with their text. */
export function projectFiles(pattern: RegExp): ReadonlyMap<string, string> {
  return new Map(
    projectPaths()
      .filter((path) => pattern.test(path))
      .map((path) => [path, readProjectFile(path)]),
  );
}
