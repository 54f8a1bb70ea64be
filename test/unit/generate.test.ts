/** @file The command line's edges: where it writes, how it is stopped, and model folders that are none. */
import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { prepareFolder, writeWhole } from '../../scripts/lib/generate-output.js';
import { stopOnSignals } from '../../scripts/lib/generate-stop.js';

const root = mkdtempSync(join(tmpdir(), 'darkroom-generate-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const REFUSED = { code: 'invalidRequest', hint: expect.stringContaining('--out') as string };

describe('the folder of --out', () => {
  it('is made with those above it, tried, and left empty', async () => {
    const folder = join(root, 'a/b/c');
    await prepareFolder(folder);
    await prepareFolder(folder);
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([
    ['a file', () => writeFileSync(join(root, 'file'), ''), 'file'],
    ['under a file', () => writeFileSync(join(root, 'file'), ''), 'file/x'],
    ['a link to itself', () => symlinkSync(join(root, 'loop'), join(root, 'loop')), 'loop'],
    ['a name that is too long', () => undefined, 'x'.repeat(300)],
  ])('is refused where it is %s', async (_, make, name) => {
    make();
    await expect(prepareFolder(join(root, name))).rejects.toMatchObject(REFUSED);
  });

  it.runIf(process.platform === 'linux')('is refused where nothing can be made, without end', async () => {
    await expect(prepareFolder('/proc/darkroom')).rejects.toMatchObject(REFUSED);
  });

  it('has whole files or none', async () => {
    const folder = join(root, 'whole');
    mkdirSync(join(folder, 'taken'), { recursive: true });
    await writeWhole(join(folder, 'a.txt'), 'one');
    await writeWhole(join(folder, 'a.txt'), 'two');
    await expect(writeWhole(join(folder, 'taken'), 'three')).rejects.toMatchObject(REFUSED);
    expect(readFileSync(join(folder, 'a.txt'), 'utf8')).toBe('two');
    expect(readdirSync(folder)).toEqual(['a.txt', 'taken']);
  });
});

it('the first signal aborts and is told, the second does what it always did', () => {
  const fake = new EventEmitter();
  const said: string[] = [];
  const stop = stopOnSignals(fake as NodeJS.Process, (line) => said.push(line)); // all that is used of it
  expect([stop.signal.aborted, stop.status()]).toEqual([false, undefined]);
  fake.emit('SIGINT', 'SIGINT');
  expect([stop.signal.aborted, stop.status(), said.length]).toEqual([true, 130, 1]);
  expect([fake.listenerCount('SIGINT'), fake.listenerCount('SIGTERM')]).toEqual([0, 0]);
});

describe('a folder of the disk', () => {
  it('does not follow links that lead in a circle, and takes links to files', async () => {
    const folder = join(root, 'linked');
    mkdirSync(join(folder, 'unet'), { recursive: true });
    writeFileSync(join(folder, 'unet/config.json'), '{}');
    symlinkSync(folder, join(folder, 'unet/again'));
    symlinkSync(join(folder, 'unet/config.json'), join(folder, 'config.json'));
    symlinkSync(join(folder, 'nowhere'), join(folder, 'gone.json'));
    expect([...((await folderTree(folder).list?.()) ?? [])].sort()).toEqual(['config.json', 'unet/config.json']);
  });

  it('is refused where it is no model but half a disk', async () => {
    const folder = join(root, 'disk');
    mkdirSync(folder);
    for (let n = 0; n <= 5000; n++) writeFileSync(join(folder, `${n}`), '');
    await expect(folderTree(folder).list?.()).rejects.toMatchObject({ code: 'invalidModel' });
  });

  it('says of a file that vanished what the system says', async () => {
    const folder = join(root, 'vanishing');
    mkdirSync(folder);
    writeFileSync(join(folder, 'a.bin'), 'abc');
    const source = await folderTree(folder).open('a.bin');
    rmSync(join(folder, 'a.bin'));
    await expect(source?.read(0, 3)).rejects.toMatchObject({
      code: 'invalidModelFile',
      message: expect.stringContaining('ENOENT') as string,
    });
  });
});
