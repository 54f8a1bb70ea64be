/**
 * @file A network whose matrices are rounded (`weightBits`, `textEncoderBits`): once, into a file that is kept beside the model; where that cannot be, each
 * time they are read, which gives the same values.
 */
import { conversionOf } from '../../assets/converted/convert.js';
import { withHalves } from '../../assets/converted/halves.js';
import { openKeptMatrices, type KeptMatrices } from '../../assets/converted/kept-matrices.js';
import { layOut, type ConvertedLayout, type RoundedMatrix } from '../../assets/converted/layout.js';
import type { DerivedFile, DerivedFiles } from '../../assets/derived-files.js';
import { isRounded } from '../../assets/packed-weight.js';
import type { WeightTensor } from '../../assets/weight-tensors.js';
import type { WeightFile } from '../../assets/weights.js';
import { DarkroomError } from '../../base/errors.js';
import { isBlockType } from '../../base/gguf-blocks.js';
import type { T5Config } from '../../models/configs/t5.js';
import type { WeightBits } from '../../models/details.js';
import type { Dialect } from '../../onnx/dialects/dialect.js';
import type { Weight } from '../../onnx/types.js';
import type { LoadRun } from '../component.js';
import { fluxWeights, onceGraphs, stepGraphs, type BlockGraph, type FluxWeights } from './graphs.js';
import { t5Graphs } from './t5-encoder.js';

export interface RoundedFile {
  /** The weights, whose rounded matrices are those that are kept as soon as there are any. */
  readonly file: WeightFile;
  /**
   * Sees to it that the rounded matrices are kept, where that can be. Reports `convert` with bytes while they are made.
   * @returns what whoever asked should know
   * @throws invalidModelFile (values that are not finite, or too large for float16), downloadFailed, aborted
   */
  prepare(run: LoadRun): Promise<readonly string[]>;
}

/** Which network it is: in messages, and in the store. */
export interface RoundedNetwork {
  readonly model: string;
  readonly network: 'transformer' | 'text encoder';
}

/**
 * @param rounded which matrices are rounded, and how
 * @param derived keeps files that are made of the model's; absent: nothing can be kept
 */
export function createRoundedFile(
  { model, network }: RoundedNetwork,
  given: WeightFile,
  rounded: readonly RoundedMatrix[],
  derived: DerivedFiles | undefined,
): RoundedFile {
  let kept: KeptMatrices | undefined;
  let answer: readonly string[] | undefined;
  const halves = new Set(rounded.filter(({ format }) => format === 'float16').map(({ name }) => name));

  const keep = async (layout: ConvertedLayout, { progress, signal }: LoadRun): Promise<string | undefined> => {
    if (derived === undefined) return 'nothing is stored here.';
    const onBytes = (count: number): void => progress.bytes(count, layout.bytes);
    const conversion = await conversionOf(given, layout, network, { signal, onBytes });
    if (conversion === undefined) return 'it is not known whether its files stay the same.';
    const write: DerivedFile['write'] = (output, from) =>
      progress.stage('convert', () => conversion.write(output, from));
    try {
      kept = await openKeptMatrices(await derived.keep({ ...conversion, write }, signal), layout, signal);
      return undefined;
    } catch (error) {
      if (error instanceof DarkroomError && NO_ROOM.has(error.code)) return error.message;
      throw error;
    }
  };

  return {
    file: withHalves(
      given,
      (name) => halves.has(name),
      () => kept,
    ),
    async prepare(run) {
      if (answer !== undefined) return answer;
      if (rounded.length === 0) return (answer = []);
      const why = await keep(layOut(given, rounded), run);
      const said = `The weights of the ${network} of ${model} are rounded each time they are read, which is slow`;
      return (answer = why === undefined ? [] : [`${said}; the rounded ones could not be stored: ${why}`]);
    },
  };
}

const NO_ROOM: ReadonlySet<string> = new Set(['storageFull', 'storageFailed']);

/** What is rounded does not depend on the size of the picture. */
const ANY_SHAPE = { textTokens: 1, imageTokens: 1 } as const;

/** The matrices of a transformer's blocks that are rounded when they are read, each once. Those of the modulation have 8 bits at least. */
export function roundedMatrices(
  transformer: Pick<FluxWeights, 'file' | 'config'>,
  weightBits: WeightBits,
  dialect: Dialect,
): readonly RoundedMatrix[] {
  const weights = fluxWeights({ transformer, weightBits }, new Map());
  const options = { dialect, dtype: 'float32' } as const;
  const { double, single } = stepGraphs(weights, ANY_SHAPE, options);
  const { modulation } = onceGraphs(weights, ANY_SHAPE, 1, options);
  return roundedOf(transformer.file, [double, single, modulation.double, modulation.single], weightBits);
}

/** Those of T5's blocks: neither the table of words, nor the distances', nor norms. */
export function roundedOfT5(
  { file, config }: { readonly file: WeightFile; readonly config: T5Config },
  bits: WeightBits,
  dialect: Dialect,
): readonly RoundedMatrix[] {
  const { block, prefixes } = t5Graphs({ file, config, bits }, 1, { dialect, dtype: 'float32' });
  return roundedOf(file, [{ graph: block, prefixes }], bits);
}

function roundedOf(file: WeightFile, blocks: readonly BlockGraph[], bits: WeightBits): readonly RoundedMatrix[] {
  const found = new Map<string, RoundedMatrix>();
  for (const { graph, prefixes } of blocks) {
    for (const prefix of prefixes) {
      for (const weight of graph.weights) {
        const name = prefix + (weight.tensors[0] ?? '');
        const tensor = file.find(name);
        if (tensor?.shape.length !== 2) continue;
        const format = bits === 16 ? halfOf(file, name, tensor) : packedFormatOf(weight, tensor);
        if (format !== undefined) found.set(name, { name, format });
      }
    }
  }
  return [...found.values()];
}

function packedFormatOf({ packed }: Weight, tensor: WeightTensor): RoundedMatrix['format'] | undefined {
  return packed?.part === 'codes' && isRounded(tensor, packed.format) ? packed.format : undefined;
}

/** Small floats are sent as they are, and converted on the device: to have them in float16 would only be more to read. */
function halfOf(file: WeightFile, name: string, { dtype }: WeightTensor): 'float16' | undefined {
  return isBlockType(dtype) || file.bits?.(name) !== undefined ? undefined : 'float16';
}
