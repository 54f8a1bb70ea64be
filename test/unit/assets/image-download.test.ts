/** @file Pictures by their address: what the server does wrong ends in a typed error, soon, without a secret. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  openMisbehavingServer,
  patternBytes,
  type MisbehavingServer,
} from '../../../scripts/lib/misbehaving-server.js';
import { downloadImage } from '../../../src/assets/image-download.js';
import { expectBytes, problemOf } from './support.js';

const file = patternBytes(50_000);
let server: MisbehavingServer;
beforeAll(async () => {
  server = await openMisbehavingServer();
  server.files.set('/whole', { bytes: file });
  server.files.set('/silent', { bytes: file, fault: () => ({ kind: 'stall', after: 100 }) });
  server.files.set('/mute', { bytes: file, lengths: 'hidden' });
  server.files.set('/torn', { bytes: file, fault: () => ({ kind: 'cut', after: 100 }) });
});
afterAll(() => server.close());

const get = (path: string, limitBytes = 1e6, signal?: AbortSignal): Promise<Uint8Array> =>
  downloadImage({ deps: { fetch, stallMs: 200 }, url: new URL(path, server.origin), limitBytes, signal });

it('is the whole file', async () => expectBytes(await get('/whole'), file));

it.each([
  ['/silent', 1e6, 'downloadFailed', 'nothing came for 0.2 s'],
  ['/torn', 1e6, 'downloadFailed', ''],
  ['/absent', 1e6, 'downloadFailed', '404'],
  ['/whole', 49_999, 'invalidImage', 'more than'],
  ['/mute', 49_999, 'invalidImage', 'more than'],
])('%s, of at most %d bytes: %s', async (path, limit, code, message) => {
  const problem = await problemOf(() => get(`${path}?token=hush`, limit));
  expect(problem).toMatchObject({ code, message: expect.stringContaining(message) as string });
  expect(JSON.stringify(problem)).not.toContain('hush');
});

it('can be stopped while nothing comes', async () => {
  const stop = new AbortController();
  const problem = problemOf(() => get('/silent', 1e6, stop.signal));
  setTimeout(() => stop.abort(), 50);
  expect((await problem).code).toBe('aborted');
});
