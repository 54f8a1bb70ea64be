/** @file Starts child programs for the other scripts: arguments, output, signals and exit status pass through unchanged. Node only, no packages. */
import { spawn } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The project's root folder. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Signals that a terminal or a supervisor sends to stop us; the child decides what to do with them. */
const STOP_SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/** How long a child that was told to stop may take. npm would take a minute. */
const PATIENCE_MS = 10_000;

/** Exit statuses of a program that one of those ended. */
export const STOPPED = Object.freeze(STOP_SIGNALS.map((signal) => 128 + constants.signals[signal]));

/**
 * Runs a program to its end, without a shell.
 *
 * @param {string} command
 * @param {readonly string[]} args passed exactly as they are
 * @param {import('node:child_process').SpawnOptions & { idleTimeoutMs?: number }} [options] `idleTimeoutMs` stops a child that
 *   prints nothing for that long; its output must then not be inherited, and is copied to our standard error.
 * @returns {Promise<number>} its exit status, or 128 + signal number if a signal ended it
 */
export function run(command, args, { idleTimeoutMs, ...options } = {}) {
  return new Promise((resolve, reject) => {
    /** @type {import('node:child_process').StdioOptions} */
    const stdio = idleTimeoutMs === undefined ? 'inherit' : ['ignore', 'pipe', 'pipe'];
    const child = spawn(command, [...args], { cwd: ROOT, stdio, ...options });
    const idle = idleTimeoutMs === undefined ? undefined : stopWhenIdle(child, idleTimeoutMs);
    /** @type {NodeJS.Timeout | undefined} */
    let patience;
    /** @param {NodeJS.Signals} signal */
    const forward = (signal) => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal); // a terminal sends it to the child as well
      patience ??= setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    };
    for (const signal of STOP_SIGNALS) process.on(signal, forward);
    const settle = () => {
      clearTimeout(idle?.timer);
      clearTimeout(patience);
      for (const signal of STOP_SIGNALS) process.off(signal, forward);
    };
    child.once('error', (error) => (settle(), reject(error)));
    child.once('close', (code, signal) => {
      settle();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/**
 * Copies a child's output to our standard error and stops the child when it falls silent.
 *
 * @param {import('node:child_process').ChildProcess} child
 * @param {number} idleTimeoutMs
 */
function stopWhenIdle(child, idleTimeoutMs) {
  const watch = { timer: setTimeout(() => child.kill(), idleTimeoutMs) };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (/** @type {Buffer} */ chunk) => {
      process.stderr.write(chunk);
      watch.timer.refresh();
    });
  }
  return watch;
}

/**
 * Runs a JavaScript file with this Node.
 *
 * @param {readonly string[]} args file first
 * @param {Parameters<typeof run>[2]} [options]
 */
export function runNode(args, options) {
  return run(process.execPath, args, options);
}

/**
 * @param {unknown} error
 * @returns {string} what it says, for people
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Progress for people; standard output belongs to the command that runs.
 *
 * @param {string} text
 */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/**
 * Reads a JSON file that another program wrote.
 *
 * @param {string} path
 * @returns {unknown} undefined when the file is absent or cut short
 */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Runs a script's body; its value becomes the exit status, and a failure is told in one line.
 *
 * @param {() => Promise<number | void>} body
 */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    say(`darkroom: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}

/**
 * Whether this file is the one that Node was asked to run.
 *
 * @param {string} url `import.meta.url`
 */
export function isMain(url) {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(url));
}
