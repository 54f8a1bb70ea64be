/** @file Installs the project's packages when they are missing or differ from package-lock.json, and does nothing otherwise. Node only, no packages. */
import { existsSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { withLock } from './lock.mjs';
import { ROOT, isMain, main, readJson, run, say } from './process.mjs';

/**
 * Makes `node_modules` hold what package-lock.json asks for. Silent and fast (milliseconds) when it already does; safe to
 * call from several processes at once and to interrupt at any moment: what counts as installed is decided by what is there.
 *
 * @returns {Promise<void>} rejects with a readable message when this Node is too old or npm fails
 */
export async function ensureInstalled(root = ROOT) {
  checkNode();
  if (isInstalled(root)) return;
  await withLock('install', () => (isInstalled(root) ? Promise.resolve() : install(root)), {
    folder: join(root, '.cache'),
  });
}

/** Versions that the build tools support. */
export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if ((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22) return;
  throw new Error(`Node ${version} runs this script; 20.19 or newer, 22.12 or newer, or 24 and above is needed.`);
}

/**
 * Whether every package that package-lock.json asks for is there, in that version. npm writes `node_modules/.package-lock.json`
 * as the last act of an installation; its age is not compared, because a checkout touches package-lock.json without changing it.
 */
export function isInstalled(root = ROOT) {
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return false;
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (wanted === undefined) return true;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined) return entry.optional === true; // made for another operating system
    return found.version === entry.version && existsSync(join(root, path, 'package.json'));
  });
}

/** @param {string} root */
async function install(root) {
  const locked = existsSync(join(root, 'package-lock.json'));
  say(`darkroom: installing packages (npm ${locked ? 'ci' : 'install'}) …`);
  const started = Date.now();
  rmSync(join(root, 'node_modules', '.package-lock.json'), { force: true }); // half an installation must not look whole
  const quiet = ['--no-audit', '--no-fund', '--loglevel', 'error'];
  const status = await runNpm([locked ? 'ci' : 'install', '--include=dev', ...quiet], root);
  if (status !== 0) throw new Error(`npm ended with status ${status}; see its messages above.`);
  say(`darkroom: packages installed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/**
 * Runs npm; what it prints goes to standard error.
 *
 * @param {readonly string[]} args
 * @param {string} cwd
 * @returns {Promise<number>} its exit status
 */
export function runNpm(args, cwd = ROOT) {
  const { command, args: first, shell } = findNpm();
  return run(command, [...first, ...args], { cwd, shell, stdio: ['ignore', 2, 2] });
}

/** The npm that started us, else the one beside this Node, else the one on the path. */
function findNpm() {
  const beside = join(dirname(process.execPath), ...(process.platform === 'win32' ? [] : ['..', 'lib']));
  const scripts = [process.env['npm_execpath'], join(beside, 'node_modules', 'npm', 'bin', 'npm-cli.js')];
  for (const script of scripts) {
    if (script !== undefined && basename(script) === 'npm-cli.js' && existsSync(script)) {
      return { command: process.execPath, args: [script], shell: false };
    }
  }
  return { command: 'npm', args: [], shell: process.platform === 'win32' }; // npm.cmd needs a shell there
}

/**
 * @param {string} path of a package-lock file
 * @returns {Record<string, { readonly version?: string, readonly optional?: boolean }> | undefined}
 */
function readPackages(path) {
  const lock = /** @type {{ packages?: ReturnType<typeof readPackages> } | undefined} */ (readJson(path)); // npm's own file
  return lock?.packages;
}

if (isMain(import.meta.url)) await main(() => ensureInstalled());
