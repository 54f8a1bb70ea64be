/**
 * @file FLUX.1's ControlNets at work: guides become tokens, then at each step the nets of the window make residuals for the transformer's blocks,
 * each adding its own, on the device.
 */
import { FLUX_IO } from '../../graphs/flux.js';
import { FLUX_CONTROL_IO, FLUX_MODE_TABLE } from '../../graphs/flux-controlnet.js';
import { tokenGrid, type LatentSize } from '../../graphs/flux-tokens.js';
import { fluxWidth } from '../../models/configs/flux-transformer.js';
import type { DeviceArray } from '../../runtime/device-array.js';
import type { Inputs } from '../../runtime/session.js';
import type { Generator } from '../../sampling/index.js';
import type { StageRun } from '../conditioning.js';
import { actsAt } from '../control-plan.js';
import type { GenerateContext } from '../generate.js';
import type { Trace } from '../trace.js';
import type { FluxPrompt } from './conditioning.js';
import type { ControlEntry, ControlJob } from './control-job.js';
import type { FluxControlNet } from './control-net.js';
import { residualFor } from './control-plan.js';
import { loadControlNet, type ControlGraphs, type ControlSessions } from './control-sessions.js';
import { drawGuide, type Moments } from './guide.js';
import { makeSteering, type Steering } from './steering.js';
import {
  createWorkspace,
  embedText,
  runBlocks,
  type BlockKind,
  type PromptFeed,
  type Workspace,
} from './transformer.js';

/** What the nets see of the guides, for all pictures: moments, or tokens of the nets' own; of entries that never act nothing. */
export type SeenGuides = readonly (Moments | Float32Array | undefined)[];

/** The same for one picture: tokens. */
export type PictureGuides = readonly (Float32Array | undefined)[];

/** Draws a picture's latents of the guides, in the order of the request, before its start noise. */
export function drawGuides(
  { entries, vae, size }: ControlJob,
  seen: SeenGuides,
  generator: Pick<Generator, 'randn'>,
  trace: Trace | undefined,
): PictureGuides {
  return entries.map(({ net }, i) => {
    const guide = seen[i];
    const own = net.config.hintChannels !== undefined;
    const tokens = own || guide instanceof Float32Array ? guide : drawGuide(guide, vae.config, size, generator);
    if (!(tokens instanceof Float32Array)) return undefined;
    trace?.(`control.${i}.packed`, tokens);
    return tokens;
  });
}

/** What steers each net's blocks, by net. */
export type ControlSteering = ReadonlyMap<FluxControlNet, Steering>;

/** @param request what the transformer is told; nets without guidance embeddings do not hear of the guidance */
export async function steerControl(
  { graphs }: ControlJob,
  request: { readonly timesteps: readonly number[]; readonly guidance: number; readonly pooled: Float32Array },
  resident: boolean,
  run: StageRun,
): Promise<ControlSteering> {
  const made = new Map<FluxControlNet, Steering>();
  for (const [net, its] of graphs)
    made.set(net, await makeSteering({ ...net, config: its.config }, its, request, resident, run));
  return made;
}

/** Where an evaluation stands, and what it is about. */
export interface ControlledStep {
  readonly step: number;
  readonly timestep: number;
  /** Packed, `[T, inChannels]`. */
  readonly latents: Float32Array;
  readonly guides: PictureGuides;
  readonly signal: AbortSignal | undefined;
  /** Sees the sums: `control.double.K`, `control.single.K`. */
  readonly trace?: Trace;
}

export interface FluxControls {
  /** The sum over the nets that act in this step, as the inputs of the transformer's blocks. Good until the next call. */
  at(step: ControlledStep): Promise<(kind: BlockKind, block: number) => Inputs>;
  /** Frees arrays; the nets stay loaded. */
  dispose(): void;
}

/** A net that acts in some step, with what is the same at every one of them. */
interface Acting {
  readonly entry: ControlEntry;
  readonly index: number;
  readonly feed: PromptFeed;
  readonly sessions: ControlSessions;
  readonly workspace: Workspace;
}

/** @param prompt the positive one: with true guidance too, both passes get the same residuals, as in diffusers */
export async function openControl(
  context: GenerateContext,
  job: ControlJob,
  prompt: FluxPrompt,
  steering: ControlSteering,
  resident: boolean,
  run: StageRun,
): Promise<FluxControls> {
  const held: { dispose(): void }[] = [];
  const dispose = (): void => held.splice(0).forEach((thing) => thing.dispose());
  try {
    const workspaces = createWorkspaces(context, job.size, held);
    const acting: Acting[] = [];
    for (const [index, entry] of job.entries.entries()) {
      const graphs = job.graphs.get(entry.net);
      const steer = steering.get(entry.net);
      if (!entry.acts || graphs === undefined || steer === undefined) continue;
      const text = await embedControlText(context, entry, graphs, prompt, run);
      held.push(text);
      const sessions = await loadControlNet(entry.net, job.key, graphs, { resident, pipe: job.pipe }, run);
      acting.push({ entry, index, feed: { text, steering: steer }, sessions, workspace: await workspaces(graphs) });
    }
    const sums = await createSums(context, job, held);
    return {
      async at(step) {
        sums.clear();
        for (const one of acting) if (actsAt(one.entry.plan, step.step)) await addResiduals(one, sums, step);
        await showSums(job, sums, step.trace);
        return (kind, block) => {
          const { blocks, residuals, repeated } = job;
          if (residuals[kind] === 0) return {};
          const at = residualFor(block, blocks[kind], residuals[kind], repeated && kind === 'double');
          return { [FLUX_IO.control]: sums.of(kind, at) };
        };
      },
      dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

async function embedControlText(
  { runtime }: GenerateContext,
  { net, mode }: ControlEntry,
  { text, config }: ControlGraphs,
  { states }: FluxPrompt,
  run: StageRun,
): Promise<DeviceArray> {
  if (mode === undefined) return embedText(runtime, { ...net, config }, text, states, run);
  const width = fluxWidth(config);
  const table = await net.file.read(FLUX_MODE_TABLE, 'float32', run.signal);
  const row = table.slice(mode * width, (mode + 1) * width);
  return embedText(runtime, { ...net, config }, text, states, run, { [FLUX_CONTROL_IO.mode]: row });
}

/** Nets whose sequences are alike take turns in one workspace: they run one after the other. */
function createWorkspaces(
  context: GenerateContext,
  size: LatentSize,
  held: { dispose(): void }[],
): (graphs: ControlGraphs) => Promise<Workspace> {
  const made = new Map<string, Workspace>();
  return async ({ config, shape }) => {
    const key = [shape.textTokens, config.headDim, ...config.ropeAxes].join();
    const known = made.get(key);
    if (known !== undefined) return known;
    const workspace = await createWorkspace(context, config, shape, tokenGrid(size));
    held.push(workspace);
    made.set(key, workspace);
    return workspace;
  };
}

/** The sums of residuals, each `[T, C]` on the device. */
interface Sums {
  /** Sets all to zero. */
  clear(): void;
  of(kind: BlockKind, index: number): DeviceArray;
  /** Replaces a sum by what `write` makes of it in another array. */
  replace(
    kind: BlockKind,
    index: number,
    write: (before: DeviceArray, after: DeviceArray) => Promise<void>,
  ): Promise<void>;
}

/** One array more than there are sums, since a run does not write into what it reads; and one of zeros for all that are zero. */
async function createSums(
  { runtime, dtype }: GenerateContext,
  { residuals, width, shape }: Pick<ControlJob, 'residuals' | 'width' | 'shape'>,
  held: { dispose(): void }[],
): Promise<Sums> {
  const make = async (): Promise<DeviceArray> => {
    const array = await runtime.zeros([shape.imageTokens, width], dtype);
    held.push(array);
    return array;
  };
  const zeros = await make();
  const sums: Record<BlockKind, DeviceArray[]> = { double: [], single: [] };
  const free: DeviceArray[] = [];
  return {
    clear() {
      for (const kind of ['double', 'single'] as const) {
        free.push(...sums[kind].filter((array) => array !== zeros));
        sums[kind] = Array<DeviceArray>(residuals[kind]).fill(zeros);
      }
    },
    of: (kind, index) => sums[kind][index] ?? zeros,
    async replace(kind, index, write) {
      const before = sums[kind][index] ?? zeros;
      const after = free.pop() ?? (await make());
      await write(before, after);
      sums[kind][index] = after;
      if (before !== zeros) free.push(before);
    },
  };
}

async function addResiduals(
  { entry, index, feed, sessions, workspace }: Acting,
  sums: Sums,
  { latents, timestep, guides, signal }: ControlledStep,
): Promise<void> {
  const embedded = { [FLUX_IO.latents]: latents, [FLUX_CONTROL_IO.guide]: guides[index] ?? new Float32Array() };
  const scale = { [FLUX_CONTROL_IO.scale]: Float32Array.of(entry.plan.weight) };
  const features = { double: FLUX_IO.image, single: FLUX_IO.sequence } as const;
  await runBlocks(
    sessions,
    workspace,
    feed,
    embedded,
    timestep,
    {
      async after(kind, block, made) {
        const layer = sessions.residual[kind];
        if (layer === undefined || block >= layer.count) return;
        await sums.replace(kind, block, (before, after) =>
          layer.runInto(
            block,
            { [features[kind]]: made, ...scale, [FLUX_CONTROL_IO.previous]: before },
            { [FLUX_CONTROL_IO.residual]: after },
            signal,
          ),
        );
      },
    },
    signal,
  );
}

async function showSums({ residuals }: ControlJob, sums: Sums, trace: ControlledStep['trace']): Promise<void> {
  if (trace === undefined) return;
  for (const kind of ['double', 'single'] as const) {
    for (let i = 0; i < residuals[kind]; i++) trace(`control.${kind}.${i}`, await sums.of(kind, i).read());
  }
}

/** For {@link openControl}: what the transformer's graphs must take. */
export function controlledKinds(job: ControlJob | undefined): Readonly<Record<BlockKind, boolean>> {
  return { double: (job?.residuals.double ?? 0) > 0, single: (job?.residuals.single ?? 0) > 0 };
}
