/** @file Finds a Chromium that runs, or installs one: for the browser tests, the benchmarks and the command line. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { ensureInstalled } from './install.mjs';
import { withLock } from './lock.mjs';
import { isMain, main, run, runNode, say } from './process.mjs';

/** A download that is silent for this long is given up. */
const IDLE_MS = 60_000;

/**
 * The path of a Chromium-like browser that starts: `CHROMIUM_PATH`, Playwright's own, the system's; else one is installed.
 *
 * @returns {Promise<string>} rejects with what was tried and what to do when there is none
 */
export async function findOrInstallChromium() {
  await ensureInstalled();
  return (await findChromium()) ?? withLock('chromium', async () => (await findChromium()) ?? installChromium());
}

/** As {@link findOrInstallChromium}, without installing. @returns {Promise<string | undefined>} */
export async function findChromium() {
  const asked = process.env['CHROMIUM_PATH'];
  if (asked !== undefined && asked !== '') {
    if (runs(asked)) return asked;
    throw new Error(`CHROMIUM_PATH is ${JSON.stringify(asked)}, which is not a browser that starts.`);
  }
  const { chromium } = await import('playwright');
  return [chromium.executablePath(), ...systemPaths()].find(runs);
}

/** Where Chromium, Chrome and Edge are on this system, best first. */
function systemPaths() {
  const env = process.env;
  if (process.platform === 'win32') {
    const bases = [env['PROGRAMFILES'], env['PROGRAMFILES(X86)'], env['LOCALAPPDATA']].filter(
      (base) => base !== undefined,
    );
    const programs = [
      'Google/Chrome/Application/chrome',
      'Chromium/Application/chrome',
      'Microsoft/Edge/Application/msedge',
    ];
    return programs.flatMap((program) => bases.map((base) => join(base, `${program}.exe`)));
  }
  if (process.platform === 'darwin') {
    const names = ['Google Chrome', 'Chromium', 'Microsoft Edge'];
    const folders = ['/Applications', join(homedir(), 'Applications')];
    return names.flatMap((name) => folders.map((folder) => join(folder, `${name}.app/Contents/MacOS/${name}`)));
  }
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'microsoft-edge'];
  const folders = [...(env['PATH'] ?? '').split(delimiter), '/usr/bin', '/snap/bin'].filter((folder) => folder !== '');
  return [...names.flatMap((name) => folders.map((folder) => join(folder, name))), '/opt/google/chrome/chrome'];
}

/**
 * Whether the program is there and starts; one without its system libraries, or a placeholder for a snap, does not.
 *
 * @param {string} path
 */
function runs(path) {
  if (!existsSync(path)) return false;
  if (process.platform === 'win32') return true; // there `--version` opens a window
  return spawnSync(path, ['--version'], { stdio: 'ignore', timeout: 30_000 }).status === 0;
}

/** Playwright's download first, then the system's package. @returns {Promise<string>} */
async function installChromium() {
  say('darkroom: no Chromium found, installing one …');
  const debian = process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  const options = { idleTimeoutMs: IDLE_MS, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  const playwright = 'node_modules/playwright/cli.js';
  /** @type {readonly (() => Promise<number>)[]} */
  const ways = [
    () => runNode([playwright, 'install', '--no-shell', 'chromium'], options),
    ...(debian
      ? [
          () => run('apt-get', ['update'], options),
          () => run('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], options),
          () => runNode([playwright, 'install-deps', 'chromium'], options),
        ]
      : []),
  ];
  for (const way of ways) {
    await way();
    const found = await findChromium();
    if (found !== undefined) return found;
  }
  throw new Error(
    'no Chromium, and none could be installed (see above). Install Chromium or Chrome, or set CHROMIUM_PATH to one.',
  );
}

if (isMain(import.meta.url)) {
  await main(async () => {
    process.stdout.write(`${await findOrInstallChromium()}\n`);
  });
}
