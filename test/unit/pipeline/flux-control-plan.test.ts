/** @file Which residuals of ControlNets reach which block of FLUX.1 (as diffusers spreads them), and the kinds of guides that union nets are told. */
import { describe, expect, it } from 'vitest';
import { chooseMode, residualFor, residualWarnings, sharedResiduals } from '../../../src/pipeline/flux/control-plan.js';

describe('residuals', () => {
  const spread = (blocks: number, residuals: number, repeated = false): string =>
    Array.from({ length: blocks }, (_, i) => residualFor(i, blocks, residuals, repeated)).join('');

  it('serve as many neighbours as the last block needs: `index // ceil(blocks / residuals)`', () => {
    // FLUX.1 has 19 double and 38 single blocks, InstantX' union net 5 and 10, XLabs' nets 2.
    expect(spread(19, 5)).toBe('0000111122223333444');
    expect(spread(38, 10)).toBe('00001111222233334444555566667777888899');
    expect(spread(19, 6)).toBe('0000111122223333444');
    expect(spread(2, 3)).toBe('01');
    expect(spread(19, 2, true)).toBe('0101010101010101010');
  });

  it('of several nets are added as far as the shortest list goes; where the first has none, there is none', () => {
    const net = (doubleBlocks: number, singleBlocks: number) => ({ doubleBlocks, singleBlocks });
    expect(sharedResiduals([net(5, 10)])).toEqual({ double: 5, single: 10 });
    expect(sharedResiduals([net(5, 10), net(6, 0)])).toEqual({ double: 5, single: 10 });
    expect(sharedResiduals([net(6, 0), net(5, 10)])).toEqual({ double: 5, single: 0 });
    expect(sharedResiduals([])).toEqual({ double: 0, single: 0 });
    const named = [{ ...net(6, 0), name: 'pro' }, { ...net(5, 10), name: 'union' }]; // prettier-ignore
    expect(residualWarnings(named)).toEqual([expect.stringMatching(/^Of union only.*since pro comes first/)]);
    expect(residualWarnings([...named].reverse())).toEqual([]);
  });
});

describe('the mode of a union net', () => {
  const question = { name: 'net', modes: 7, said: undefined, asked: false, guideOf: undefined };
  it('is what is said, else what drew the guide, else canny with a warning', () => {
    expect(chooseMode('c', { ...question, said: 4, guideOf: 'depth' })).toEqual({ mode: 4, warnings: [] });
    expect(chooseMode('c', { ...question, guideOf: 'depth' })).toEqual({ mode: 2, warnings: [] });
    expect(chooseMode('c', { ...question, guideOf: 'openpose' })).toEqual({ mode: 4, warnings: [] });
    for (const guideOf of [undefined, 'shuffle'] as const)
      expect(chooseMode('c', { ...question, guideOf })).toMatchObject({
        mode: 0,
        warnings: [expect.stringMatching(/^c does not say/)],
      });
    expect(chooseMode('c', { ...question, modes: 2, guideOf: 'depth' })).toMatchObject({ mode: 0 });
  });
  it('is none of a plain net', () => {
    expect(chooseMode('c', { ...question, modes: undefined, asked: true })).toMatchObject({
      mode: undefined,
      warnings: [expect.stringMatching(/^c\.unionMode has no effect/)],
    });
  });
});
