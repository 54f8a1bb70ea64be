/** @file An app outside the project that has the packed tarball installed, its servers, and visits to its page. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright';
import { version as viteVersion } from 'vite';
import { runNpm } from '../../scripts/install.mjs';

const exec = promisify(execFile);

/** Copies `app/` to `folder`, and installs the tarball and the Vite that the project uses, and nothing else. */
export async function makeApp(folder: string, tarball: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  cpSync(fileURLToPath(new URL('app', import.meta.url)), folder, { recursive: true });
  const manifest = {
    name: 'app',
    private: true,
    type: 'module',
    dependencies: { darkroom: `file:${tarball}` },
    devDependencies: { vite: viteVersion },
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel', 'error'];
  const status = await runNpm(['install', ...quiet], folder);
  if (status !== 0) throw new Error(`npm install in the app ended with status ${status}`);
}

/** Runs Node in the app; rejects with the program's output when it fails. */
export async function runInApp(folder: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await exec(process.execPath, [...args], { cwd: folder, env: plainEnv() });
  return stdout + stderr;
}

/** A server of the app's Vite. */
export interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts `vite …args` in the app and waits for the address that it prints. */
export async function serve(folder: string, args: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, ['node_modules/vite/bin/vite.js', ...args], { cwd: folder, env: plainEnv() });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  };
  try {
    return { url: await printedUrl(child), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function printedUrl(child: ChildProcess, timeoutMs = 60_000): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    const fail = (): void => reject(new Error(`vite printed no address:\n${output}`));
    const timer = setTimeout(fail, timeoutMs);
    child.once('exit', fail);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        const url = /Local:\s+(http\S+)/.exec(output)?.[1];
        if (url === undefined) return;
        clearTimeout(timer);
        child.off('exit', fail);
        resolve(url);
      });
    }
  });
}

/** The environment without what the test runner adds to it: NODE_ENV decides how Vite builds. */
function plainEnv(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => name !== 'NODE_ENV' && !name.startsWith('VITEST'));
  return { ...Object.fromEntries(entries), NO_COLOR: '1' };
}

/** What a visit to the page came to. */
export interface Visit {
  /** The page's own last word. */
  readonly said: string;
  /** The picture's file, where there is one. */
  readonly png: Buffer | undefined;
  /** Addresses outside the page's own origin that were asked for, by the worker too. */
  readonly elsewhere: readonly string[];
  /** What the browser complained about. */
  readonly complaints: readonly string[];
}

/** Opens the page and waits until it has a picture or has failed. */
export async function visit(browser: Browser, url: string, timeoutMs = 240_000): Promise<Visit> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const [elsewhere, complaints]: [string[], string[]] = [[], []];
    const home = new RegExp(`^(data:|blob:|${new URL(url).origin}/)`);
    context.on('request', (request) => home.test(request.url()) || elsewhere.push(request.url()));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(url);
    const output = page.locator('output');
    await output.filter({ hasNotText: 'working' }).waitFor({ timeout: timeoutMs });
    const said = (await output.textContent()) ?? '';
    const uri = said === 'done' ? await page.locator('img').getAttribute('src') : null;
    const png = uri === null ? undefined : Buffer.from(uri.replace('data:image/png;base64,', ''), 'base64');
    return { said, png, elsewhere, complaints };
  } finally {
    await context.close();
  }
}
