/** @file What ControlNets add to the networks of a FLUX.1 request: what control.ts will load, as graphs, in the order of their use. */
import { FLUX_CONTROL_IO } from '../../graphs/flux-controlnet.js';
import { SHARED_SETS } from '../../runtime/blocks.js';
import type { Network } from '../networks.js';
import type { ControlJob } from './control-job.js';
import type { ControlledMemory, ControlSizes } from './control-memory.js';
import type { BlockGraph } from './graphs.js';
import { encoderParts } from '../banded-memory.js';
import { guideBands, guideEncoderGraph } from './guide.js';
import { ON_DEVICE, withBlocks } from './networks.js';

const CONTROL_ON_DEVICE: ReadonlySet<string> = new Set([
  ...ON_DEVICE,
  FLUX_CONTROL_IO.previous,
  FLUX_CONTROL_IO.residual,
  FLUX_CONTROL_IO.control,
]);

/** `networks` of the model, with those of the nets where they are used: guides behind the text, nets with the transformer. */
export function withControl(
  networks: readonly Network[],
  job: ControlJob | undefined,
  { arrays }: Pick<ControlSizes, 'arrays'>,
  memory: ControlledMemory,
  dialect: Parameters<typeof guideEncoderGraph>[2],
): readonly Network[] {
  if (job === undefined || job.graphs.size === 0) return networks;
  const bands = guideBands(job.vae.config, job.size);
  const guide: Network = {
    name: "the guides' encoder",
    kind: 'control',
    graph: guideEncoderGraph(job.vae.config, job.size, dialect),
    turn: 1,
    brief: true,
    parts: bands && (() => encoderParts(bands, dialect)),
  };
  const nets = [...job.graphs.values()].flatMap((graphs, i): readonly Network[] => {
    const name = job.graphs.size > 1 ? `ControlNet ${i + 1}` : 'the ControlNet';
    const net = { name, kind: 'control', turn: 2, onDevice: CONTROL_ON_DEVICE, arrays } as const;
    const blocks = (of: BlockGraph, staying: boolean): Network => ({
      ...net,
      graph: withBlocks(of, staying ? of.prefixes.length : SHARED_SETS),
    });
    const kinds = (['double', 'single'] as const).filter((kind) => graphs[kind].prefixes.length > 0);
    return [
      { ...net, graph: graphs.condition },
      ...kinds.map((kind) => ({ ...blocks(graphs.modulation[kind], memory.modulation), brief: !memory.modulation })),
      { ...net, graph: graphs.text },
      { ...net, graph: graphs.image },
      ...kinds.flatMap((kind) => [blocks(graphs[kind], memory.control), blocks(graphs.residual[kind], true)]),
    ];
  });
  const text = networks.filter(({ kind }) => kind === 'text');
  const decoder = networks.filter(({ kind }) => kind === 'vae');
  const others = networks.filter((network) => !text.includes(network) && !decoder.includes(network));
  // The nets' arrays are there as long as the model's own are.
  const besides = [...others, ...decoder].map((network): Network =>
    network.arrays === undefined ? network : { ...network, arrays: network.arrays + arrays },
  );
  return [...text, guide, ...nets, ...besides];
}
