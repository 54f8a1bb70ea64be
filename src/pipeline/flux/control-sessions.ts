/** @file A FLUX.1 ControlNet's graphs for one size of picture and text, and the sessions made of them. */
import {
  fluxControlImageGraph,
  fluxControlTextGraph,
  fluxResidualGraph,
  fluxResidualPrefix,
} from '../../graphs/flux-controlnet.js';
import type { FluxShape } from '../../graphs/flux.js';
import type { GraphOptions } from '../../onnx/net.js';
import { flopsOf } from '../../onnx/cost.js';
import type { Graph } from '../../onnx/types.js';
import type { Blocks } from '../../runtime/blocks.js';
import type { Lock } from '../../runtime/lock.js';
import type { Model } from '../../runtime/session.js';
import type { LoadOptions, WeightBank } from '../../runtime/weights.js';
import type { LoadRun } from '../component.js';
import type { Pace } from '../pace.js';
import type { Owned } from '../slot.js';
import { fileBytes } from '../weight-bytes.js';
import type { FluxControlNet } from './control-net.js';
import { fluxWeights, onceGraphs, stepGraphs, type BlockGraph, type OnceGraphs } from './graphs.js';
import { makeAll } from './network.js';
import type { BlockKind, BlockSessions } from './transformer.js';

/** One number for each kind of block. */
export type PerKind<T> = Readonly<Record<BlockKind, T>>;

export interface ControlGraphs extends Omit<OnceGraphs, 'text'> {
  /** Of a union net, with its token. */
  readonly text: Graph;
  /** With the guide. */
  readonly image: Graph;
  readonly double: BlockGraph;
  readonly join: Graph;
  readonly single: BlockGraph;
  readonly residual: PerKind<BlockGraph>;
  /** Of the blocks: a union net has one token more. */
  readonly shape: FluxShape;
  /** The config with as many blocks as are run. */
  readonly config: FluxControlNet['config'];
}

/** LoRAs do not reach ControlNets. */
const NO_CHANGES: Parameters<typeof fluxWeights>[1] = new Map();

/**
 * @param shape of the model's blocks
 * @param shared how many residuals of either kind are wanted; blocks behind the last of them are left out
 */
export function controlGraphs(
  { config, file, weightBits }: Pick<FluxControlNet, 'config' | 'file' | 'weightBits'>,
  shape: FluxShape,
  shared: PerKind<number>,
  steps: number,
  options: GraphOptions,
): ControlGraphs {
  const residuals = {
    double: Math.min(shared.double, config.doubleBlocks),
    single: Math.min(shared.single, config.singleBlocks),
  };
  const run = {
    ...config,
    doubleBlocks: residuals.single > 0 ? config.doubleBlocks : residuals.double,
    singleBlocks: residuals.single,
  };
  const inner = { ...shape, textTokens: shape.textTokens + (config.modes === undefined ? 0 : 1) };
  const weights = fluxWeights({ transformer: { config: run, file }, weightBits }, NO_CHANGES);
  const { double, join, single } = stepGraphs(weights, inner, options);
  const { condition, modulation } = onceGraphs(weights, inner, steps, options);
  const residual = (kind: BlockKind): BlockGraph => ({
    graph: fluxResidualGraph(run, kind, inner, options),
    prefixes: Array.from({ length: residuals[kind] }, (_, i) => fluxResidualPrefix(kind, i)),
  });
  return {
    text: fluxControlTextGraph(run, shape, options),
    image: fluxControlImageGraph(run, inner, options),
    condition,
    modulation,
    double,
    join,
    single,
    residual: { double: residual('double'), single: residual('single') },
    shape: inner,
    config: run,
  };
}

/** What a ControlNet is run with, for one size of picture and text. Kinds of which there are no blocks have no sessions. */
export interface ControlSessions extends Owned, BlockSessions {
  readonly residual: PerKind<Blocks | undefined>;
}

/** How the weights of a net's blocks are brought. */
export interface Bringing {
  /** Whether they stay on the device. */
  readonly resident: boolean;
  /** As of `BlockOptions`. */
  readonly pipe: Lock;
}

export function loadControlNet(
  net: FluxControlNet,
  key: string,
  graphs: ControlGraphs,
  { resident, pipe }: Bringing,
  run: LoadRun,
): Promise<ControlSessions> {
  const { file } = net;
  const { image, join, residual } = graphs;
  const kinds = ['double', 'single'] as const;
  const bytes = kinds.reduce(
    (sum, kind) =>
      sum +
      (resident ? fileBytes(file, graphs[kind].graph, graphs[kind].prefixes) : 0) +
      fileBytes(file, residual[kind].graph, residual[kind].prefixes),
    fileBytes(file, image),
  );
  return net.load(
    `${key}${resident ? '' : ' in turn'}`,
    bytes,
    async (bank, reading) => {
      const bringing = { reading, resident, pipe, pace: run.pace };
      const { embed, ...made } = await makeAll({
        embed: () => bank.load(image, reading),
        double: () => makeKind(bank, bringing, graphs.double, residual.double),
        single: () => makeKind(bank, bringing, graphs.single, residual.single, join),
      });
      const { double, single } = made;
      return {
        image: embed,
        double: double.blocks,
        join: single.join,
        single: single.blocks,
        residual: { double: double.residual, single: single.residual },
        dispose: () => made.dispose(),
      };
    },
    run,
  );
}

/** Sessions of the blocks of one kind. */
interface Kind extends Owned {
  readonly blocks: Blocks | undefined;
  readonly residual: Blocks | undefined;
  readonly join: Model | undefined;
}

/** @param join what comes before the blocks */
async function makeKind(
  bank: WeightBank,
  { reading, resident, pipe, pace }: Bringing & { readonly reading: LoadOptions; readonly pace: Pace | undefined },
  { graph, prefixes }: BlockGraph,
  residual: BlockGraph,
  join?: Graph,
): Promise<Kind> {
  if (prefixes.length === 0)
    return { blocks: undefined, residual: undefined, join: undefined, dispose: () => Promise.resolve() };
  const watch = pace?.watch('image', flopsOf(graph));
  const ofResidual = pace?.watch('image', flopsOf(residual.graph));
  const makers = {
    blocks: () => bank.loadBlocks(graph, { ...reading, prefixes, resident: resident ? undefined : 0, pipe, watch }),
    residual: () => bank.loadBlocks(residual.graph, { ...reading, prefixes: residual.prefixes, watch: ofResidual }),
  };
  return join === undefined
    ? { ...(await makeAll(makers)), join: undefined }
    : makeAll({ ...makers, join: () => bank.load(join, reading) });
}
