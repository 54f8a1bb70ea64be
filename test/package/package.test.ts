/** @file The packed npm package: its tarball, and an app with no configuration that builds with it and makes a picture in Chromium. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { chromium, type Browser } from 'playwright';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findOrInstallChromium } from '../../scripts/chromium.mjs';
import { checkExports, checkTypes, packTarball } from '../../scripts/package.mjs';
import { ROOT } from '../../scripts/process.mjs';
import { makeApp, runInApp, serve, visit, type Visit } from './fresh-app.js';

const folder = mkdtempSync(join(tmpdir(), 'darkroom-package-'));
const app = join(folder, 'app');
let tarball = '';

beforeAll(async () => {
  tarball = await packTarball(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the tarball', () => {
  it('holds what package.json names (publint)', async () => expect(await checkExports(tarball)).toBe(0));
  it('resolves to types in ES modules (attw)', async () => expect(await checkTypes(tarball)).toBe(0));
});

describe('a fresh app', () => {
  let browser: Browser;
  let built: Visit | undefined;

  beforeAll(async () => {
    await makeApp(app, tarball);
    browser = await chromium.launch({ executablePath: await findOrInstallChromium() });
  });
  afterAll(() => browser.close());

  it('gets the library and the bundled model, and nothing else', () => {
    const installed = join(app, 'node_modules', 'darkroom');
    const paths = readdirSync(installed, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(installed, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
    expect(paths).toContain('dist/workers/pipeline.worker.js');
    expect(paths).toContain('dist/models/tinyworld/unet/diffusion_pytorch_model.safetensors');
    const code = /^dist\/(src|workers)\/.+\.(js|d\.ts)$/;
    const rest = /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/models\/.+)$/;
    expect(paths.filter((path) => !code.test(path) && !rest.test(path))).toEqual([]);
    expect(paths.filter((path) => /\.(test|spec)\./.test(path))).toEqual([]);
  });

  it('type-checks, libraries included', async () => {
    await runInApp(app, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', app]);
  });

  it('builds without a warning and makes a picture (vite build, vite preview)', async () => {
    const printed = await runInApp(app, ['node_modules/vite/bin/vite.js', 'build']);
    expect(printed).not.toMatch(/warn/i);
    built = await visitServer(['preview']);
    await expectRedHouse(built);
  });

  it('makes the same picture under the development server (vite dev)', async () => {
    const { said, complaints, png } = await visitServer(['dev']);
    expect({ said, complaints }).toEqual({ said: 'done', complaints: [] });
    expect(png).toEqual(built?.png);
  });

  async function visitServer(args: readonly string[]): Promise<Visit> {
    const server = await serve(app, args);
    try {
      return await visit(browser, server.url);
    } finally {
      await server.stop();
    }
  }
});

/** The prompt's subject in the middle of a picture of the asked size, made without a request to anywhere else. */
async function expectRedHouse({ said, png, complaints, elsewhere }: Visit): Promise<void> {
  expect({ said, complaints, elsewhere }).toEqual({ said: 'done', complaints: [], elsewhere: [] });
  const { width, height, format } = await sharp(png).metadata();
  expect({ width, height, format }).toEqual({ width: 128, height: 128, format: 'png' });
  const middle = sharp(png).extract({ left: 40, top: 64, width: 48, height: 40 });
  const [red = 0, green = 255, blue = 255] = (await sharp(await middle.toBuffer()).stats()).channels.map((c) => c.mean);
  expect(red - Math.max(green, blue)).toBeGreaterThan(40); // a house drawn in another colour, or nothing, stays far below
}
