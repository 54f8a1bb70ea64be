/** @file Everything that comes from outside, a little wrong, through the code that reads it: no crash, no hang, nothing accepted that is wrong. */
import { describe, expect, it } from 'vitest';
import { mutateBytes, mutateJson, mutateText } from '../../../scripts/lib/fuzz-mutate.js';
import { randomFrom } from '../../../scripts/lib/fuzz-random.js';
import { fuzz } from '../../../scripts/lib/fuzz-run.js';
import { judge, must, type Target } from '../../../scripts/lib/fuzz-target.js';
import { fuzzTargets } from '../../../scripts/lib/fuzz-targets.js';
import { fail } from '../../../src/base/errors.js';

/** Inputs of each kind; `npm run fuzz` takes more. One of growth is some large ones, several times. */
const EACH = 110;
const LARGE = 15;

const TARGETS = fuzzTargets();

describe('hostile input', () => {
  it.each(TARGETS.map((target) => [target.kind, target] as const))('%s', async (_, target) => {
    const count = target.kind === 'growth' ? LARGE : EACH;
    const { kinds, failures } = await fuzz({ targets: [target], count, seed: 20, limitMs: 10_000 });
    expect(failures).toEqual([]);
    // A kind of which nothing is accepted tests nothing but its first check.
    expect(kinds[0]?.accepted).toBeGreaterThan(count / 20);
  });
});

describe('the fuzzer', () => {
  const target = (run: Target['run']): Target => ({ kind: 'some', run });

  it('makes the same inputs of the same seed, and others of another', async () => {
    const seen: string[] = [];
    const noting = target((random) => {
      seen.push(JSON.stringify([random.real(), mutateJson({ a: [1, 'b'] }, random), mutateText('some text', random)]));
      return Promise.resolve('refused');
    });
    await fuzz({ targets: [noting], count: 20, seed: 1 });
    await fuzz({ targets: [noting], count: 20, seed: 1 });
    await fuzz({ targets: [noting], count: 1, seed: 1, from: 7 });
    await fuzz({ targets: [noting], count: 20, seed: 2 });
    expect(seen.slice(20, 40)).toEqual(seen.slice(0, 20));
    expect(seen[40]).toBe(seen[7]);
    expect(new Set(seen).size).toBe(40);
  });

  it('leaves the input that it mutates as it is, and does change it', () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
    const json = { a: { b: [1, 2, 3] }, c: 'text' };
    const changed = Array.from({ length: 200 }, (_, seed) => mutateBytes(bytes, randomFrom(seed)));
    for (let seed = 0; seed < 200; seed++) mutateJson(json, randomFrom(seed));
    expect(bytes).toEqual(Uint8Array.from({ length: 100 }, (_, i) => i));
    expect(json).toEqual({ a: { b: [1, 2, 3] }, c: 'text' });
    expect(changed.filter((out) => Buffer.compare(out, bytes) !== 0).length).toBeGreaterThan(150);
  });

  it('reports crashes, wrong accepts, our own mistakes and slowness, each with what repeats it', async () => {
    const crash = target(() => Promise.reject(new TypeError('undefined is not a function')));
    const wrong = target(() =>
      judge(
        () => 3,
        (value) => must(value === 4, () => 'three'),
      ),
    );
    const bug = target(() =>
      judge(
        () => Promise.reject(fail('internalError', 'an invariant')),
        () => undefined,
      ),
    );
    const slow = target(() => {
      const { user } = process.cpuUsage();
      while (process.cpuUsage().user - user < 40_000); // µs
      return Promise.resolve('refused');
    });
    const { failures } = await fuzz({ targets: [crash, wrong, bug, slow], count: 4, seed: 5, limitMs: 20 });
    expect(failures.map(({ what }) => what)).toEqual([
      expect.stringContaining('undefined is not a function'),
      expect.stringContaining('three'),
      expect.stringContaining('an invariant'),
      expect.stringMatching(/^took \d+ ms/),
    ]);
    expect(failures[0]?.again).toBe('--only some --seed 5 --from 0 --count 1');
  });

  it('takes a typed error for a refusal', async () => {
    const refusing = target(() =>
      judge(
        () => Promise.reject(fail('invalidModelFile', 'no')),
        () => undefined,
      ),
    );
    expect(await fuzz({ targets: [refusing], count: 3, seed: 1 })).toMatchObject({
      failures: [],
      kinds: [{ refused: 3 }],
    });
  });
});
