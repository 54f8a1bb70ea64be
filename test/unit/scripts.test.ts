/** @file The scripts behind `npm start`, `npm test` and the rest: what counts as installed, locks, pass-through, and the closing line. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { checkNode, isInstalled } from '../../scripts/install.mjs';
import { withLock } from '../../scripts/lock.mjs';
import { readJson, run } from '../../scripts/process.mjs';
import { closingLine, sum, tallyReport, type Report } from '../../scripts/tally.mjs';
import { ROOT } from './project-files.js';

const temporary = mkdtempSync(join(tmpdir(), 'darkroom-scripts-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

/** Writes files into a new folder and returns its path. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(temporary, 'case-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

describe('isInstalled', () => {
  const lock = (packages: object): string => JSON.stringify({ packages });
  const wanted = {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b': { version: '2.0.0', optional: true },
  };
  const whole = {
    'package-lock.json': lock(wanted),
    'node_modules/.package-lock.json': lock({ 'node_modules/a': { version: '1.0.0' } }),
    'node_modules/a/package.json': '{}',
  };
  const without = (path: keyof typeof whole): Readonly<Record<string, string>> =>
    Object.fromEntries(Object.entries(whole).filter(([name]) => name !== path));

  it.each([
    ['everything there, but for a package made for another system', true, whole],
    ['nothing there', false, { 'package-lock.json': lock(wanted) }],
    ['an interrupted installation', false, without('node_modules/.package-lock.json')],
    ['a package that was removed by hand', false, without('node_modules/a/package.json')],
    [
      'a package in another version',
      false,
      { ...whole, 'package-lock.json': lock({ 'node_modules/a': { version: '1.0.1' } }) },
    ],
    [
      'a new package',
      false,
      { ...whole, 'package-lock.json': lock({ ...wanted, 'node_modules/c': { version: '1.0.0' } }) },
    ],
    ['a record that was cut short', false, { ...whole, 'node_modules/.package-lock.json': '{"packages": {' }],
  ])('%s: %s', (_case, expected, files) => expect(isInstalled(folderOf(files))).toBe(expected));

  it('holds for this project', () => expect(isInstalled()).toBe(true));

  it.each(['20.19.0', '20.20.2', '22.12.0', '24.0.0', '26.1.0'])('Node %s will do', (version) => checkNode(version));
  it.each(['18.20.0', '20.18.3', '21.7.0', '22.11.0'])('Node %s will not', (version) => {
    expect(() => checkNode(version)).toThrow(`Node ${version}`);
  });
});

describe('withLock', () => {
  it('lets one work at a time, and the next after a failure', async () => {
    const folder = folderOf({});
    const log: string[] = [];
    const work = (name: string) => async (): Promise<string> => {
      log.push(`${name} in`);
      await sleep(50);
      log.push(`${name} out`);
      if (name === 'a') throw new Error('a failed');
      return name;
    };
    const [a, b] = await Promise.allSettled([
      withLock('x', work('a'), { folder }),
      withLock('x', work('b'), { folder }),
      withLock('y', () => sleep(0), { folder }),
    ]);
    expect(log).toEqual(['a in', 'a out', 'b in', 'b out']);
    expect([a.status, b.status]).toEqual(['rejected', 'fulfilled']);
  });

  it('is kept by an owner that lives for longer than the time after which it is stale', async () => {
    const folder = folderOf({});
    const log: string[] = [];
    const staleMs = 1500;
    const owner = withLock('x', () => sleep(3000).then(() => log.push('owner')), { folder, staleMs });
    await withLock('x', () => Promise.resolve(log.push('other')), { folder, staleMs });
    await owner;
    expect(log).toEqual(['owner', 'other']);
  });

  it('outlives an owner that is killed', async () => {
    const folder = folderOf({});
    const url = pathToFileURL(join(ROOT, 'scripts/lock.mjs')).href;
    const script = `
      import { withLock } from ${JSON.stringify(url)};
      const forever = () => new Promise((resolve) => { console.log('in'); setTimeout(resolve, 1e6); });
      await withLock('x', forever, { folder: ${JSON.stringify(folder)}, staleMs: 800 });`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script]);
    await once(owner.stdout, 'data');
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const started = Date.now();
    expect(await withLock('x', () => Promise.resolve('mine'), { folder, staleMs: 800 })).toBe('mine');
    expect(Date.now() - started).toBeLessThan(5000);
  });

  it('takes a lock that nobody has touched for long', async () => {
    const folder = folderOf({ 'x.lock/left': '' });
    utimesSync(join(folder, 'x.lock'), new Date(0), new Date(0));
    expect(await withLock('x', () => Promise.resolve('mine'), { folder })).toBe('mine');
  });
});

describe('run', () => {
  it('returns the exit status, or 128 + the signal', async () => {
    expect(await run(process.execPath, ['-e', 'process.exit(7)'])).toBe(7);
    expect(await run(process.execPath, ['-e', 'process.kill(process.pid, "SIGKILL")'])).toBe(137);
  });

  it('stops a program that falls silent', async () => {
    const started = Date.now();
    expect(await run(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)'], { idleTimeoutMs: 300 })).toBe(143);
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  it('rejects when there is no such program', async () => {
    await expect(run('no-such-program-here', [])).rejects.toThrow('ENOENT');
  });
});

describe('scripts/run.mjs', () => {
  const echo = folderOf({
    'echo.ts': `const given: readonly string[] = process.argv.slice(2);
      process.stdout.write(JSON.stringify(given));
      process.exitCode = given.length;`,
  });
  const script = join(ROOT, 'scripts/run.mjs');

  it('passes arguments and status through and adds no word', () => {
    const args = ['--prompt', 'a "red"  house', '', '--', '-x=$HOME', "it's *", 'é\n'];
    const result = spawnSync(process.execPath, [script, join(echo, 'echo.ts'), ...args], {
      encoding: 'utf8',
      cwd: tmpdir(),
    });
    expect(JSON.parse(result.stdout)).toEqual(args);
    expect(result.stderr).toBe('');
    expect(result.status).toBe(args.length);
  });

  it('says what is missing', () => {
    const result = spawnSync(process.execPath, [script], { encoding: 'utf8' });
    expect(result.stderr).toContain('which file?');
    expect(result.status).toBe(1);
  });
});

describe('the closing line', () => {
  it('counts what vitest really reports', () => {
    const folder = folderOf({
      'a.test.js': `it('passes', () => {}); it('fails', () => { throw new Error('no'); });
        it.skip('is skipped', () => {}); it.todo('is to do');`,
      'b.test.js': `import './missing.js'; it('never runs', () => {});`,
      'c.test.js': `describe('d', () => { beforeAll(() => { throw new Error('no'); }); it('is kept from running', () => {}); });`,
    });
    const output = join(folder, 'report.json');
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
    const args = ['run', '--root', folder, '--globals', '--reporter=json', `--outputFile=${output}`];
    const { status } = spawnSync(process.execPath, [vitest, ...args], { cwd: folder });
    expect(tallyReport(readJson(output) as Report, status ?? 1)).toEqual({ passed: 1, failed: 3, skipped: 3 }); // written by vitest
  });

  it('counts a run that ended badly without naming a failure as one', () => {
    const report: Report = { testResults: [{ status: 'passed', assertionResults: [{ status: 'passed' }] }] };
    expect(tallyReport(report, 0)).toEqual({ passed: 1, failed: 0, skipped: 0 });
    expect(tallyReport(report, 1)).toEqual({ passed: 1, failed: 1, skipped: 0 });
    expect(tallyReport({ testResults: [] }, 1)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(tallyReport(undefined, 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });

  it('sums', () => {
    const total = sum([
      { passed: 10, failed: 0, skipped: 1 },
      { passed: 200, failed: 3, skipped: 0 },
    ]);
    expect(closingLine(total)).toBe('210 passed, 3 failed, 1 skipped');
  });
});

describe('package-lock.json', () => {
  it('is written for no registry in particular', () => {
    const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
    expect(lock).toContain('"integrity"');
    expect(lock).not.toContain('"resolved"');
  });
});
