/**
 * @file The store where browsers, private windows and frames refuse what it needs: the Cache API in the place of the private file system, nothing in the place
 * of both, and in each case the right bytes and the reason. What is refused is taken away in the worker before the library runs.
 */
import { createHash } from 'node:crypto';
import type { Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { patternBytes } from '../../scripts/lib/misbehaving-server.js';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { MadeAnyway, RefusedPage } from './refused-page.js';
import type { Looked } from './refused-worker.js';
import { serveModel, type ServedModel } from './served-model.js';
import type { TakenAway } from './take-away.js';

const bytes = patternBytes(2_500_000);
const hash = createHash('sha256').update(bytes).digest('hex');

let served: ServedPage;
let server: ServedModel;
let page: Page;
beforeAll(async () => {
  [served, server] = await Promise.all([openServedPage({}), serveModel()]);
  page = served.page;
  await page.addScriptTag({ type: 'module', url: '/test/browser/refused-page.ts' });
  await page.waitForFunction(() => 'refused' in globalThis);
});
afterAll(async () => {
  await served.close();
  await server.close();
});

let files = 0;
const read = (taken: readonly TakenAway[], path: string): Promise<Looked> =>
  page.evaluate(
    ([what, address, name]) => (Reflect.get(globalThis, 'refused') as RefusedPage).read(what, address, name),
    [taken, server.source, path] as const,
  );
const make = (refused: boolean): Promise<MadeAnyway> =>
  page.evaluate(([source, without]) => (Reflect.get(globalThis, 'refused') as RefusedPage).make(source, without), [
    server.source,
    refused,
  ] as const);

describe('a store without', () => {
  it.each([
    [['locks'], 'opfs'],
    [['channels', 'estimates'], 'opfs'],
    [['private file system'], 'cache'],
    [['access handles'], 'cache'],
    [['access handles', 'locks', 'channels', 'estimates'], 'cache'],
  ] as const)('%j is in %s, and keeps what it has read', async (taken, kind) => {
    const path = `kept-${files++}.safetensors`;
    server.files.set(`/${path}`, { bytes, etag: '"1"' });
    expect(await read(taken, path)).toMatchObject({ kind, hash });
    const requests = server.log.length;
    const again = await read(taken, path);
    expect(again).toMatchObject({ kind, hash });
    expect(again.models).toBeGreaterThan(0);
    expect(server.log.length).toBe(requests);
  });

  it.each([
    [
      ['private file system', 'cache'],
      /private file system: The operation is insecure.; cache: The operation is insecure/,
    ],
    [['access handles', 'cache'], /cannot write files in pieces here.*cache: The operation is insecure/],
    [['private file system', 'caches'], /The operation is insecure.*cache: not in this browser/],
    [['storage and caches'], /private file system: not in this browser, or the page is not served by HTTPS/],
  ] as const)('%j is none, says so, and reads from the network', async (taken, reason) => {
    const path = `unkept-${files++}.safetensors`;
    server.files.set(`/${path}`, { bytes, etag: '"1"' });
    const looked = await read(taken, path);
    expect(looked).toMatchObject({ kind: 'none', hash, models: 0 });
    expect(looked.reason).toMatch(reason);
    const requests = server.log.length;
    expect(await read(taken, path)).toMatchObject({ hash });
    expect(server.log.length).toBeGreaterThan(requests);
  });
});

it('a picture is the same where everything is refused, locks and channels too, and the status says why nothing is kept', async () => {
  const kept = await make(false);
  expect(kept).toMatchObject({ status: { kind: 'opfs' }, persisted: false }); // this browser refuses without asking
  expect(kept.kept).toBeGreaterThan(0);
  const refused = await make(true);
  expect(refused).toMatchObject({ sha256: kept.sha256, kept: 0, status: { kind: 'none' } });
  expect(refused.status.reason).toMatch(/stores no files here.*insecure/);
});
