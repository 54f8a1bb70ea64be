/**
 * @file What steers FLUX.1's blocks, for all steps of a schedule ahead: their modulation depends on time, guidance and pooled text, not on the
 * picture. So the weights for it, a quarter of the model's, need not be there while the blocks run.
 */
import { concatFloats } from '../../base/arrays.js';
import { FLUX_IO, FLUX_SINUSOID } from '../../graphs/flux.js';
import { modulationSize, type BlockStream } from '../../graphs/flux-blocks.js';
import { sinusoid } from '../../graphs/sinusoid.js';
import { fluxWidth, type FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import type { Arrays, Inputs } from '../../runtime/session.js';
import type { LoadRun } from '../component.js';
import type { Owned } from '../slot.js';
import { fileBytes } from '../weight-bytes.js';
import type { BlockGraph, OnceGraphs } from './graphs.js';
import type { BlockNetwork } from './network.js';

/** What the network is told besides picture and text. */
export interface SteeringRequest {
  /** In 0…1000, each once. */
  readonly timesteps: readonly number[];
  /** Of guidance-distilled models. */
  readonly guidance: number;
  /** CLIP's pooled text. */
  readonly pooled: Float32Array;
}

/** For one step: the inputs of each block that steer it, and the condition that the last layer reads. */
export interface Steering {
  readonly double: (block: number, timestep: number) => Inputs;
  readonly single: (block: number, timestep: number) => Inputs;
  readonly condition: (timestep: number) => Inputs;
}

const STREAMS = { double: ['text', 'image'], single: ['sequence'] } as const satisfies Record<
  'double' | 'single',
  readonly BlockStream[]
>;

/** A network of FLUX.1's blocks: the transformer, or a ControlNet. */
export type FluxNetwork = Pick<BlockNetwork<Owned>, 'file' | 'once'> & { readonly config: FluxTransformerConfig };

/**
 * @param resident whether the weights stay on the device for the next prompt
 * @throws missingWeight, invalidModelFile, runtimeFailed, outOfMemory, aborted
 */
export async function makeSteering(
  network: FluxNetwork,
  graphs: Pick<OnceGraphs, 'condition' | 'modulation'>,
  request: SteeringRequest,
  resident: boolean,
  run: LoadRun,
): Promise<Steering> {
  const { file, config } = network;
  const { timesteps } = request;
  // Products of one row per step say nothing about the arithmetic of the blocks.
  const watch = run.pace?.watch('image', 0);
  const { [FLUX_IO.condition]: condition = new Float32Array() } = await network.once(
    fileBytes(file, graphs.condition),
    (bank, reading) => bank.load(graphs.condition, reading),
    run,
    (model) => model.run(conditionInputs(config, request), run.signal),
  );
  const tables = async (of: BlockGraph): Promise<readonly Arrays[]> => {
    if (of.prefixes.length === 0) return [];
    return network.once(
      fileBytes(file, of.graph, of.prefixes),
      (bank, reading) =>
        bank.loadBlocks(of.graph, { ...reading, prefixes: of.prefixes, resident: resident ? undefined : 0, watch }),
      run,
      async (blocks) => {
        const made: Arrays[] = [];
        for (let i = 0; i < blocks.count; i++)
          made.push(await blocks.run(i, { [FLUX_IO.condition]: condition }, run.signal));
        return made;
      },
    );
  };
  const made = { double: await tables(graphs.modulation.double), single: await tables(graphs.modulation.single) };
  const width = fluxWidth(config);
  const rowsOf = (table: Float32Array | undefined, rows: number, timestep: number): Float32Array => {
    const at = timesteps.indexOf(timestep) * rows * width;
    return table?.subarray(at, at + rows * width) ?? new Float32Array();
  };
  const inputsOf =
    (kind: 'double' | 'single') =>
    (block: number, timestep: number): Inputs =>
      Object.fromEntries(
        STREAMS[kind].map((stream) => {
          const name = FLUX_IO.modulation(stream);
          return [name, rowsOf(made[kind][block]?.[name], modulationSize(stream), timestep)];
        }),
      );
  return {
    double: inputsOf('double'),
    single: inputsOf('single'),
    condition: (timestep) => ({ [FLUX_IO.condition]: rowsOf(condition, 1, timestep) }),
  };
}

/** FLUX.1 is given σ and the guidance, and reads sinusoids of 1000 times that. */
function conditionInputs(config: FluxTransformerConfig, { timesteps, guidance, pooled }: SteeringRequest): Inputs {
  const { fround } = Math;
  const waves = (values: readonly number[]): Float32Array =>
    concatFloats(values.map((value) => sinusoid(fround(1000 * fround(value)), FLUX_SINUSOID)));
  return {
    [FLUX_IO.time]: waves(timesteps.map((timestep) => timestep / 1000)),
    ...(config.guidanceEmbeds && { [FLUX_IO.guidance]: waves(timesteps.map(() => guidance)) }),
    [FLUX_IO.pooled]: concatFloats(timesteps.map(() => pooled)),
  };
}
