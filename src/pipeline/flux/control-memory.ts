/** @file What ControlNets add to the memory that FLUX.1 takes, and whether their blocks stay on the device beside the transformer's. */
import { peakLiveBytes } from '../../onnx/liveness.js';
import { deviceBytes } from '../weight-bytes.js';
import { SHARED_SETS } from '../../runtime/blocks.js';
import type { ControlJob } from './control-job.js';
import type { ControlGraphs, PerKind } from './control-sessions.js';
import type { BlockGraph } from './graphs.js';
import { guideEncoderGraph } from './guide.js';
import type { FluxMemory, FluxSizes } from './memory.js';

/** Bytes on the device, of all nets of a request. */
export interface ControlSizes {
  /** Of blocks that stay, or of the buffers that they share where they take turns. */
  readonly blocks: number;
  readonly shared: number;
  readonly modulation: number;
  /** What comes before and after the blocks. */
  readonly ends: number;
  /** Arrays of features and residuals. */
  readonly arrays: number;
  readonly runs: number;
  /** What encoding a guide has alive at most; its weights are gone afterwards. */
  readonly encoding: number;
}

const NONE: ControlSizes = { blocks: 0, shared: 0, modulation: 0, ends: 0, arrays: 0, runs: 0, encoding: 0 };

export function controlSizes(
  job: ControlJob | undefined,
  dialect: Parameters<typeof guideEncoderGraph>[2],
): ControlSizes {
  if (job === undefined) return NONE;
  const nets = [...job.graphs.values()];
  const encoder = guideEncoderGraph(job.vae.config, job.size, dialect);
  const feature = (graphs: ControlGraphs): number => bytesOf(graphs.image, graphs.shape.imageTokens);
  const [first] = nets;
  const sums = first === undefined ? 0 : (job.residuals.double + job.residuals.single + 2) * feature(first);
  return {
    blocks: sum(nets, (graphs) => sum(KINDS, (kind) => allBytes(graphs[kind]))),
    shared: sum(nets, (graphs) => sum(KINDS, (kind) => SHARED_SETS * deviceBytes(graphs[kind].graph))),
    modulation: sum(nets, ({ modulation }) => sum(KINDS, (kind) => allBytes(modulation[kind]))),
    ends: sum(nets, ({ text, image, condition, residual }) => {
      const weights = sum([text, image, condition], (graph) => deviceBytes(graph));
      return weights + sum(KINDS, (kind) => allBytes(residual[kind]));
    }),
    arrays: sums + sum(nets, (graphs) => workspaceBytes(graphs, feature(graphs))),
    runs: sum(nets, (graphs) =>
      sum(KINDS, (kind) => peakLiveBytes(graphs[kind].graph) + peakLiveBytes(graphs.residual[kind].graph)),
    ),
    encoding: first === undefined ? 0 : peakLiveBytes(encoder),
  };
}

const KINDS = ['double', 'single'] as const satisfies readonly (keyof PerKind<unknown>)[];

/** Text, image and both, twice each, and the embedded text. */
function workspaceBytes({ shape: { textTokens, imageTokens } }: ControlGraphs, feature: number): number {
  const row = feature / imageTokens;
  return row * (5 * textTokens + 4 * imageTokens);
}

/** Of the image tokens that a graph gives. */
function bytesOf({ outputs: [output] }: ControlGraphs['image'], tokens: number): number {
  const width = output?.value.shape[1] ?? 0;
  return tokens * width * (output?.value.dtype === 'float16' ? 2 : 4);
}

function allBytes({ graph, prefixes }: BlockGraph): number {
  return prefixes.length * deviceBytes(graph);
}

function sum<T>(list: readonly T[], size: (entry: T) => number): number {
  return list.reduce((total, entry) => total + size(entry), 0);
}

export interface ControlledMemory extends FluxMemory {
  /** Whether the ControlNets' blocks stay while they run. */
  readonly control: boolean;
}

/**
 * The nets' blocks stay where the whole transformer does beside them. Else they take turns, as some of its blocks do: bringing either takes as long, but
 * nets do not act in all steps.
 */
export function planControlled(
  sizes: FluxSizes,
  control: ControlSizes,
  plan: (sizes: FluxSizes) => FluxMemory,
): ControlledMemory {
  const withNets = (blocks: number): FluxMemory =>
    plan({
      ...sizes,
      modulation: sizes.modulation + control.modulation,
      ends: sizes.ends + control.ends + control.arrays + blocks,
      runs: sizes.runs + control.runs,
      decoding: Math.max(sizes.decoding, control.encoding),
    });
  const staying = withNets(control.blocks);
  const all = staying.double === sizes.doubleBlocks && staying.single === sizes.singleBlocks;
  if (all || control.blocks <= control.shared) return { ...staying, control: true };
  return { ...withNets(control.shared), control: false };
}
