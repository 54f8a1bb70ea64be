/** @file Which residuals of several ControlNets reach which block of FLUX.1's transformer, and which kind of guide a union net is told. Pure. */
import type { FluxControlNetConfig } from '../../models/configs/flux-controlnet.js';
import type { PreProcessorType } from '../../request/preprocessors.js';
import { UNION_MODES, unionModeName, unionModeOfGuide } from '../../request/union-modes.js';
import type { BlockKind } from './transformer.js';

type Blocks = Pick<FluxControlNetConfig, 'doubleBlocks' | 'singleBlocks'>;

/**
 * How many residuals of either kind all nets of a request share: they are added one by one, as far as the shortest list goes. Nets that have none of a
 * kind are passed over, but where the first has none, there is none (diffusers `FluxMultiControlNetModel.forward`); nets outside their window
 * count as others do.
 */
export function sharedResiduals(nets: readonly Blocks[]): Readonly<Record<BlockKind, number>> {
  const shared = (counts: readonly number[]): number => {
    const [first = 0] = counts;
    return first === 0 ? 0 : Math.min(...counts.filter((count) => count > 0));
  };
  return {
    double: shared(nets.map(({ doubleBlocks }) => doubleBlocks)),
    single: shared(nets.map(({ singleBlocks }) => singleBlocks)),
  };
}

/**
 * Which of `residuals` is added behind block `index` of `blocks`: each serves as many neighbours as are needed for the last block to have one
 * (diffusers `FluxTransformer2DModel.forward`). XLabs' nets begin again with the first instead; that is about double blocks only.
 */
export function residualFor(index: number, blocks: number, residuals: number, repeated: boolean): number {
  return repeated ? index % residuals : Math.floor(index / Math.ceil(blocks / residuals));
}

/** An entry of `controlNet`, as far as its mode goes. */
export interface ModeQuestion {
  readonly name: string;
  /** Kinds of guides that the net tells apart; absent: it is no union net. */
  readonly modes: number | undefined;
  /** As said by the request or the registration. */
  readonly said: number | undefined;
  /** Whether the request says one. */
  readonly asked: boolean;
  /** What drew the guide, where it is one of ours. */
  readonly guideOf: PreProcessorType | undefined;
}

/** The mode that a union net is told, and what whoever asked should know. */
export function chooseMode(
  place: string,
  { name, modes, said, asked, guideOf }: ModeQuestion,
): { readonly mode: number | undefined; readonly warnings: readonly string[] } {
  if (modes === undefined) {
    const message = `${place}.unionMode has no effect: ${name} is for one kind of guide.`;
    return { mode: undefined, warnings: asked ? [message] : [] };
  }
  if (said !== undefined) return { mode: said, warnings: [] };
  const drawn = unionModeOfGuide(guideOf);
  if (drawn !== undefined && drawn < modes) return { mode: drawn, warnings: [] };
  const taken = `${place} does not say what kind of guide it is, so ${name} takes it for ${unionModeName(0)}`;
  return { mode: 0, warnings: [`${taken}: give unionMode (${UNION_MODES.join(', ')}).`] };
}

/** What is said where nets do not have residuals for the same kinds of blocks. */
export function residualWarnings(nets: readonly (Blocks & { readonly name: string })[]): readonly string[] {
  const { single } = sharedResiduals(nets);
  const lost = nets.filter(({ singleBlocks }) => singleBlocks > 0 && single === 0);
  const [first] = nets;
  return lost.map(
    ({ name }) =>
      `Of ${name} only what it says to double blocks is used, since ${first?.name} comes first and says nothing to single blocks (as in diffusers); name ${name} first to use all of it.`,
  );
}
