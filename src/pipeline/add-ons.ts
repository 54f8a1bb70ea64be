/** @file What a task adds to its base model: LoRAs, embeddings and ControlNets, opened and fitted to the model. */
import {
  changesByTensor,
  type AppliedChange,
  type ChangedNetwork,
  type ChangedWeights,
} from '../assets/weight-change.js';
import type { LoraChanges } from '../assets/lora-file.js';
import { clipTextGraph } from '../graphs/clip-text.js';
import { fluxGraph } from '../graphs/flux.js';
import { unetGraph } from '../graphs/unet.js';
import type { ControlNetConfig } from '../models/configs/controlnet.js';
import type { NetworkWeights } from '../models/lora/addresses.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import type { Component } from './component.js';
import type { PromptEmbedding } from './conditioning.js';
import type { FluxControl } from './flux/control-net.js';
import type { FluxModel } from './flux/model.js';
import type { LoadedModel, TextEncoder } from './model.js';

export type ControlNet = Component & { readonly config: ControlNetConfig };

/** A LoRA, as far as it changes one model. */
export interface FittedLora {
  /** Names the file, so that its changes are known when they are asked for again. */
  readonly key: string;
  readonly strength: number;
  readonly changes: LoraChanges;
}

export interface AddOns {
  readonly loras: readonly FittedLora[];
  readonly embeddings: readonly PromptEmbedding[];
  /** One for each entry of `controlNet`; the same net may be there more than once. */
  readonly controls: readonly ControlNet[];
  /** The same for FLUX.1; one of the two lists is empty. */
  readonly fluxControls: readonly FluxControl[];
}

/** Makes the model's networks use these LoRAs, and no others, from the next time they are loaded. */
export function useLoras(model: LoadedModel | FluxModel, loras: readonly FittedLora[]): void {
  const of = (network: ChangedNetwork): readonly AppliedChange[] =>
    loras.flatMap(({ key, strength, changes }) =>
      (changes.changes.get(network) ?? []).map((change) => ({ ...change, id: `${key} ${change.tensor}`, strength })),
    );
  if (model.architecture === 'flux') {
    model.transformer.adapt(of('transformer'));
    model.clip.adapt(of('encoder1'));
    return;
  }
  model.unet.adapt(of('unet'));
  for (const encoder of model.encoders) encoder.adapt(of(networkOf(encoder)));
}

/** What LoRAs change of which weights. */
export function changedBy(loras: readonly FittedLora[]): ReadonlyMap<ChangedNetwork, ChangedWeights> {
  const networks = new Set(loras.flatMap(({ changes }) => [...changes.changes.keys()]));
  return new Map(
    [...networks].map((network) => [
      network,
      changesByTensor(loras.flatMap(({ changes }) => changes.changes.get(network) ?? [])),
    ]),
  );
}

/** The weights that a LoRA may change, told from the configs. */
export function changeableWeights(model: LoadedModel | FluxModel, dialect: Dialect): readonly NetworkWeights[] {
  const options = { dialect, dtype: 'float32' } as const;
  const textWeights = (encoder: TextEncoder): NetworkWeights => {
    const all = { tokens: 1, hidden: [{ skip: 0, norm: true }], projected: encoder.slot === 2, masked: false };
    return { network: networkOf(encoder), weights: weightsOf(clipTextGraph(encoder.config, all, options)) };
  };
  if (model.architecture === 'flux') {
    const graph = fluxGraph(model.transformer.config, { textTokens: 1, imageTokens: 1 }, options);
    return [{ network: 'transformer', weights: weightsOf(graph) }, textWeights(model.clip)];
  }
  const { unet, encoders } = model;
  const smallest = 2 ** (unet.config.blockOutChannels.length - 1);
  const shape = { batch: 1, height: smallest, width: smallest, textTokens: 1 };
  return [
    { network: 'unet', weights: weightsOf(unetGraph(unet.config, shape, options)) },
    ...encoders.map(textWeights),
  ];
}

function networkOf({ slot }: { readonly slot: 1 | 2 }): ChangedNetwork {
  return slot === 1 ? 'encoder1' : 'encoder2';
}

function weightsOf({ weights }: Graph): readonly { readonly name: string; readonly shape: readonly number[] }[] {
  return weights.flatMap(({ tensors, value }) => tensors.map((name) => ({ name, shape: value.shape })));
}
