/**
 * @file Downloads under fire: each of many files comes from a server that misbehaves onto a disk whose power fails at random bytes, until it
 * is there. No file that is not whole may ever be seen. `npm run soak -- --pictures 0 --downloads 1000 --seed 1`
 */
import { createHash } from 'node:crypto';
import { DarkroomError } from '../../src/base/errors.js';
import type { FileTree } from '../../src/assets/source.js';
import { createModelStore, type ModelStore } from '../../src/assets/store/model-store.js';
import { createCrashingDisk, PowerFailure, type CrashingDisk } from './crashing-disk.js';
import {
  openMisbehavingServer,
  patternBytes,
  type Asked,
  type Fault,
  type MisbehavingServer,
} from './misbehaving-server.js';

export interface SoakReport {
  readonly downloads: number;
  readonly kills: number;
  /** Sessions that ended in a typed error, and were followed by another. */
  readonly failures: number;
  /** Of files that must have been there after the last session. */
  readonly bytes: number;
  /** Bytes that a later session did not have to fetch again. */
  readonly resumedBytes: number;
  /** One sentence each; empty when all is well. */
  readonly problems: readonly string[];
}

export interface SoakOptions {
  readonly count: number;
  /** No download is begun after so long. */
  readonly forMs?: number | undefined;
  readonly seed: number;
  readonly onDownload?: (done: number) => void;
}

/** Runs `count` downloads; the same seed makes the same files, faults and kills. */
export async function soakDownloads({ count, forMs = Infinity, seed, onDownload }: SoakOptions): Promise<SoakReport> {
  const server = await openMisbehavingServer();
  const total = { kills: 0, failures: 0, bytes: 0, resumedBytes: 0 };
  const problems: string[] = [];
  const start = performance.now();
  let downloads = 0;
  try {
    for (; downloads < count && performance.now() - start < forMs; downloads++) {
      const i = downloads;
      const outcome = await soakOne(server, i, randomFrom(seed * 1_000_003 + i));
      total.kills += outcome.kills;
      total.failures += outcome.failures;
      total.bytes += outcome.bytes;
      total.resumedBytes += outcome.resumedBytes;
      problems.push(...outcome.problems.map((problem) => `download ${i} of seed ${seed}: ${problem}`));
      server.log.length = 0;
      onDownload?.(i + 1);
    }
  } finally {
    await server.close();
  }
  return { downloads, ...total, problems };
}

interface Outcome extends Omit<SoakReport, 'downloads'> {
  readonly bytes: number;
}

/** Sessions with kills, then one without: by then the file must come. */
const KILLS = 4;
/** A last session that fails, as unlucky ones may, is repeated so often. */
const LAST_TRIES = 12;

async function soakOne(server: MisbehavingServer, nth: number, random: () => number): Promise<Outcome> {
  const int = (limit: number): number => Math.floor(random() * limit);
  const path = `/soak/${nth}.bin`;
  const size = int(5) === 0 ? int(100_000) : 66_000 + int(400_000);
  const known = new Map<string, number>(); // hashes of all versions that were ever served
  let version = 0;
  let bytes = patternBytes(size, nth);
  const tells = int(4); // which validators there are
  const ranges = int(8) !== 0;
  const hashed = int(3) === 0; // whether the hash is known beforehand
  const fault = faults(random, { ranges, hashed });
  const serve = (): string => {
    known.set(hashOf(bytes), version);
    server.files.set(path, {
      bytes,
      ranges,
      fault,
      ...(tells === 0
        ? {}
        : tells === 1
          ? { etag: `"${version}"` }
          : { modified: dateOf(version), etag: `W/"${version}"` }),
    });
    return hashOf(bytes);
  };
  let wanted = serve();
  const disk = createCrashingDisk(random);
  const problems: string[] = [];
  let kills = 0;
  let failures = 0;
  let resumedBytes = 0;
  const plannedKills = int(KILLS + 1);
  for (let session = 0; session < plannedKills + LAST_TRIES; session++) {
    if (int(12) === 0) {
      version++;
      bytes = patternBytes(size + int(3) - 1 < 0 ? 0 : size, nth + version * 1000);
      wanted = serve();
    }
    const chunkBytes = 4096 << int(5);
    const store = makeStore(disk, random, { chunkBytes, parallel: 1 + int(5), saveBytes: 4096 << int(5), tries: 4 });
    store.subscribe((event) => {
      if (event.state === 'done') resumedBytes += event.resumedBytes;
    });
    const kill = session < plannedKills;
    if (kill) disk.crashAfter(int(size + 4000));
    const seen = await runSession(store, server.origin + path, hashed ? wanted : undefined);
    if (seen.kind === 'bytes' && !known.has(seen.hash))
      problems.push(`a file was seen that was never served (${seen.length} bytes)`);
    problems.push(...(await badFiles(disk, known)));
    if (seen.kind === 'killed') kills++;
    if (seen.kind === 'failed') failures++;
    if (seen.kind === 'wrong') problems.push(seen.message);
    if (seen.kind === 'bytes' && !kill) {
      if (!known.has(wanted)) problems.push('the last version was lost');
      return { kills, failures, bytes: size, resumedBytes, problems };
    }
    disk.crashAfter(Infinity);
  }
  problems.push(`the file did not come in ${LAST_TRIES} sessions without a kill`);
  return { kills, failures, bytes: 0, resumedBytes, problems };
}

function makeStore(disk: CrashingDisk, random: () => number, tuning: object): ModelStore {
  const boot = disk.boot();
  return createModelStore({
    openDisk: () => Promise.resolve({ kind: 'disk', disk: boot }),
    http: { fetch, random, sleep: () => new Promise((resolve) => setTimeout(resolve, 1)), stallMs: 40 },
    revalidate: 'never',
    tuning,
  });
}

type Seen =
  | { readonly kind: 'bytes'; readonly hash: string; readonly length: number }
  | { readonly kind: 'killed' | 'failed' }
  | { readonly kind: 'wrong'; readonly message: string };

/** Opens the file and reads all of it through the store. */
async function runSession(store: ModelStore, url: string, sha256: string | undefined): Promise<Seen> {
  const file = url.slice(url.lastIndexOf('/') + 1);
  const expected = sha256 === undefined ? {} : { [file]: { sha256 } };
  const tree: FileTree = store.tree(url.slice(0, -file.length), { expected });
  try {
    const source = await tree.open(file);
    if (source === undefined) return { kind: 'wrong', message: 'the file was said not to be there' };
    const bytes = await source.read(0, source.size);
    return { kind: 'bytes', hash: hashOf(bytes), length: bytes.length };
  } catch (error) {
    if (!(error instanceof DarkroomError)) return { kind: 'wrong', message: `an untyped error: ${String(error)}` };
    if (error.cause instanceof PowerFailure) return { kind: 'killed' };
    const known = error.code === 'downloadFailed' || (error.code === 'hashMismatch' && sha256 !== undefined);
    return known ? { kind: 'failed' } : { kind: 'wrong', message: `${error.code}: ${error.message}` };
  } finally {
    tree.close?.();
  }
}

/** Whatever the disk now shows as whole must be a file that was served. */
async function badFiles(disk: CrashingDisk, known: ReadonlyMap<string, number>): Promise<readonly string[]> {
  const store = makeStore(disk, () => 0.5, {});
  const contents = disk.contents();
  const problems: string[] = [];
  for (const model of await store.list()) {
    for (const file of model.files) {
      const whole = [...contents].some(([name, bytes]) => name.startsWith('d-') && hashOf(bytes) === file.sha256);
      // a record whose data was deleted is not used: the reader compares lengths, and fetches the file again
      const length = [...contents].some(([name, bytes]) => name.startsWith('d-') && bytes.length === file.bytes);
      if (length && !whole) problems.push(`a stored file of ${file.bytes} bytes is not what its record says`);
      if (!known.has(file.sha256)) problems.push('a stored file was never served');
    }
  }
  return problems;
}

/**
 * Faults by chance: most requests are answered well. A wrong byte, or a wrong length of a whole file that is nowhere announced, can only be
 * told by a hash.
 */
function faults(
  random: () => number,
  { ranges, hashed }: { readonly ranges: boolean; readonly hashed: boolean },
): (asked: Asked) => Fault | undefined {
  const rate = random() * 0.5;
  const int = (limit: number): number => Math.floor(random() * limit);
  return () => {
    if (random() >= rate) return undefined;
    const kinds: readonly Fault[] = [
      { kind: 'cut', after: int(60_000) },
      { kind: 'cut', after: int(60_000) },
      { kind: 'status', status: 503 },
      { kind: 'status', status: 429, headers: { 'retry-after': '0' } },
      ...(ranges || hashed ? [{ kind: 'short', by: int(4000) - 2000 } as const] : []),
      ...(hashed ? [{ kind: 'flip', at: int(400_000) } as const] : []),
      { kind: 'shifted', by: int(50) + 1 },
      { kind: 'less', bytes: int(5000) + 1 },
      { kind: 'whole' },
      ...(int(4) === 0 ? [{ kind: 'stall', after: int(60_000) } as const] : []),
    ];
    return kinds[int(kinds.length)];
  };
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function dateOf(version: number): string {
  return new Date(Date.UTC(2026, 0, 1 + version)).toUTCString();
}

/** mulberry32: a small generator of numbers 0 ≤ x < 1, equal for equal seeds. */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
