/** @file What leaves the page while pictures are made: nothing. Under a strict content security policy, and without a network once loaded. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBuiltTab, POLICY, policyFor, serveBuiltPage, type BuiltSite, type BuiltTab } from './built-page.js';
import { launchChromium } from './chromium.js';
import { serveModel, type ServedModel } from './served-model.js';
import { writeMicroModel } from '../micro-model.js';
import { readProjectFile } from '../unit/project-files.js';

let browser: Browser;
let site: BuiltSite;
let tab: BuiltTab;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), serveBuiltPage()]);
  tab = await openBuiltTab(browser, site);
});
afterAll(async () => {
  await browser.close();
  await site.close();
});

/** Words that are nowhere else. */
const SECRET = 'a zyzzyva on a quixotic xylophone';
const HASH = /^[0-9a-f]{64}$/;

describe('a page that makes pictures', () => {
  it('asks its own server for its own files, and no other', async () => {
    expect(await tab.call('make', 'first', SECRET, 1)).toMatch(HASH);
    expect(tab.requested.length).toBeGreaterThan(5);
    for (const url of tab.requested) expect(url.startsWith(site.url), url).toBe(true);
    for (const line of site.asked) expect(line).toMatch(/^GET \/[\w./-]*$/); // no query, no body, no report of the policy
    expect(site.asked.join('\n')).not.toMatch(/zyzzyva|quixotic|xylophone/i);
  });

  it('asks for nothing at all once its model is loaded', async () => {
    site.asked.length = 0;
    tab.requested.length = 0;
    expect(await tab.call('make', 'first', SECRET, 2)).toMatch(HASH);
    expect([site.asked, tab.requested]).toEqual([[], []]);
  });

  it('works without a network then, with the same bytes', async () => {
    const online = await tab.call('make', 'first', SECRET, 3);
    await tab.context.setOffline(true);
    expect(await tab.call('make', 'first', SECRET, 3)).toBe(online);
    await tab.context.setOffline(false);
    expect(tab.requested).toEqual([]);
  });

  it('works under the policy on the GPU too', async () => {
    expect(await tab.call('device', 'auto')).toBe('webgpu');
    expect(site.asked.filter((line) => !line.startsWith('GET '))).toEqual([]);
  });

  it('says nothing on the console: neither prompts nor anything else', () => {
    expect(tab.said).toEqual([]);
  });

  describe('with a model that was downloaded', () => {
    let model: ServedModel;
    let own: BuiltSite;
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
      await writeMicroModel(folder); // on a software adapter each session takes seconds
      model = await serveModel(folder);
      own = await serveBuiltPage({ 'Content-Security-Policy': policyFor(model.origin) });
    });
    afterAll(async () => {
      await own.close();
      await model.close();
      await rm(folder, { recursive: true });
    });

    it('asks nobody any more, on the GPU, after a reload and without a network: the same bytes', async () => {
      const here = await openBuiltTab(browser, own);
      expect(await here.call('device', 'auto', model.source)).toBe('webgpu');
      const online = await here.call('make', 'auto', SECRET, 4, model.source);
      expect(online).toMatch(HASH);
      for (const url of here.requested)
        expect(
          [own.url, model.source].some((at) => url.startsWith(at)),
          url,
        ).toBe(true);
      expect(JSON.stringify(model.log.map(({ path, headers }) => [path, headers]))).not.toMatch(/zyzzyva|quixotic/i);
      await model.close();
      await here.page.reload();
      await here.page.waitForFunction(() => 'builtPage' in globalThis);
      expect(await here.call('device', 'auto', model.source)).toBe('webgpu'); // the page's own files are there now
      own.asked.length = 0;
      here.requested.length = 0;
      await here.context.setOffline(true);
      expect(await here.call('make', 'auto', SECRET, 4, model.source)).toBe(online);
      expect([own.asked, here.requested]).toEqual([[], []]);
      expect(here.said).toEqual([]);
      expect(own.asked.filter((line) => !line.startsWith('GET '))).toEqual([]); // no report of the policy
      expect(await here.call('kept', 'auto')).toMatchObject([{ title: 'served' }]);
      await here.context.close();
    });
  });

  it('needs no wider policy than the guide says', () => {
    for (const directive of POLICY.split('; ')) expect(readProjectFile('docs/guide/library.md')).toContain(directive);
  });
});
