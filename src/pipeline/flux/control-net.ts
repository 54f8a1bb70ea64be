/** @file A ControlNet for FLUX.1 made ready: its config parsed, held against the model's, its weight header read, memory on the device owned here. */
import type { ComponentFiles } from '../../assets/model-files.js';
import { fail } from '../../base/errors.js';
import {
  fluxControlNetMisfit,
  parseFluxControlNetConfig,
  type FluxControlNetConfig,
} from '../../models/configs/flux-controlnet.js';
import type { FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import type { WeightBits } from '../../models/details.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { ControlSessions } from './control-sessions.js';
import { createBlockNetwork, type BlockNetwork } from './network.js';

export interface FluxControlNet extends BlockNetwork<ControlSessions> {
  /** For messages. */
  readonly name: string;
  readonly config: FluxControlNetConfig;
  /** What its blocks are rounded to. */
  readonly weightBits: WeightBits | undefined;
}

/** What an entry of `controlNet` names. */
export interface FluxControl {
  readonly net: FluxControlNet;
  /** Of a union net, the kind of guide that the request or the registration says. */
  readonly mode: number | undefined;
}

/**
 * @param base what it is to steer
 * @throws unsupportedModel, invalidModelConfig, incompatibleControlNet, and what opening the weights throws
 */
export async function openFluxControlNet(
  runtime: Runtime,
  files: ComponentFiles,
  base: FluxTransformerConfig,
  {
    name,
    weightBits,
    signal,
  }: { readonly name: string; readonly weightBits: WeightBits | undefined; readonly signal: AbortSignal | undefined },
): Promise<FluxControlNet> {
  const config = parseFluxControlNetConfig(files.config, `${name}/config.json`, base);
  const misfit = fluxControlNetMisfit(config, base);
  if (misfit !== undefined) throw incompatible(`${name} ${misfit}.`);
  const network = createBlockNetwork<ControlSessions>(runtime, await files.open(signal), weightBits !== undefined);
  return { ...network, name, config, weightBits };
}

/**
 * An entry, checked.
 * @param asked the kind of guide that the request says; `known`: what was said when registering
 * @throws invalidControlNetUnionMode
 */
export function fluxControl(net: FluxControlNet, asked: number | undefined, known: number | undefined): FluxControl {
  const { modes } = net.config;
  const mode = asked ?? known;
  if (modes === undefined || mode === undefined) return { net, mode: undefined };
  if (mode < modes) return { net, mode };
  throw fail(
    'invalidControlNetUnionMode',
    `Invalid value for 'unionMode': got ${mode}; ${net.name} has modes 0 to ${modes - 1}.`,
    { parameter: 'controlNet.unionMode', type: 'integer', min: 0, max: modes - 1 },
  );
}

/**
 * What holds between the nets of a request: those that make features of their own spread what they say in another way over the model's blocks.
 * @throws incompatibleControlNet
 */
export function checkFluxControls(controls: readonly FluxControl[]): void {
  const [first, ...others] = controls.map(({ net }) => net);
  const isOwn = ({ config }: FluxControlNet): boolean => config.hintChannels !== undefined;
  const other = first && others.find((net) => isOwn(net) !== isOwn(first));
  if (first === undefined || other === undefined) return;
  const [own, latents] = isOwn(first) ? [first, other] : [other, first];
  throw incompatible(
    `${own.name} looks at the guide itself (an XLabs net), ${latents.name} through the VAE; such nets do not go together.`,
  );
}

function incompatible(message: string): Error {
  return fail('incompatibleControlNet', message, { parameter: 'controlNet.model', type: 'string' });
}
