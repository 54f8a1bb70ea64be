/**
 * @file The sizes of the networks that draw edges and lines, read off the shapes of their weights: their files carry no config.
 * Data and its readers.
 */
import { fail } from '../../base/errors.js';
import type { TensorShapes } from '../layouts/layout.js';

/** HED: VGG-like blocks, each with an edge map of its own. */
export interface HedConfig {
  readonly blocks: readonly { readonly channels: number; readonly layers: number }[];
}

/** The generator of informative drawings: two halvings, residual blocks, two doublings. */
export interface LineartConfig {
  /** Of the first layer; twice and four times as many below. */
  readonly channels: number;
  readonly residualBlocks: number;
}

/** The UNet of the anime line drawings: the width of each of its convolutions on the way down. */
export interface LineartAnimeConfig {
  readonly channels: readonly number[];
}

/** @throws invalidModelFile when it is another network */
export function hedConfig(shapes: TensorShapes, where: string): HedConfig {
  const blocks = countUp(1, (i) => shapes.has(`block${i}.projection.weight`)).map((i) => {
    const layers = countUp(0, (j) => shapes.has(`block${i}.convs.${j}.weight`)).length;
    return { channels: firstSize(shapes, `block${i}.convs.0.weight`), layers };
  });
  if (blocks.length === 0 || !shapes.has('norm')) throw another(where, 'ControlNetHED (softedge)', 'block1.projection.weight');
  return { blocks };
}

/** @throws invalidModelFile when it is another network */
export function lineartConfig(shapes: TensorShapes, where: string): LineartConfig {
  const channels = firstSize(shapes, 'model0.1.weight');
  if (channels === 0) throw another(where, 'the line drawing generator (sk_model)', 'model0.1.weight');
  return { channels, residualBlocks: countUp(0, (i) => shapes.has(`model2.${i}.conv_block.1.weight`)).length };
}

/** Name of the weight of the convolution `level` of the UNet, on the way down; `prefix` is where its block is. */
export function animeDown(level: number): string {
  return level === 0 ? 'model.model.0' : `${animeBlock(level)}.model.1`;
}

/** The block of `level`: the outermost holds the next at 1, all others at 3. */
export function animeBlock(level: number): string {
  return level === 0 ? 'model' : `model.model.1${'.model.3'.repeat(level - 1)}`;
}

/** @throws invalidModelFile when it is another network */
export function lineartAnimeConfig(shapes: TensorShapes, where: string): LineartAnimeConfig {
  const levels = countUp(0, (level) => shapes.has(`${animeDown(level)}.weight`));
  if (levels.length < 2) throw another(where, 'the anime line drawing UNet (netG)', 'model.model.0.weight');
  return { channels: levels.map((level) => firstSize(shapes, `${animeDown(level)}.weight`)) };
}

/** `from`, `from`+1, … as long as there is one. */
function countUp(from: number, isThere: (i: number) => boolean): readonly number[] {
  const found: number[] = [];
  for (let i = from; isThere(i) && found.length < 64; i++) found.push(i);
  return found;
}

function firstSize(shapes: TensorShapes, name: string): number {
  return shapes.get(name)?.shape[0] ?? 0;
}

function another(where: string, expected: string, weight: string): Error {
  return fail('invalidModelFile', `${where} is not ${expected}: it has no "${weight}".`);
}
