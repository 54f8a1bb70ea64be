/**
 * @file A transformer whose matrices are rounded (`weightBits`): once, into a file that is kept beside the model; where that cannot be, each time they
 * are read, which gives the same bytes.
 */
import { conversionOf } from '../../assets/converted/convert.js';
import { openKeptMatrices, type KeptMatrices } from '../../assets/converted/kept-matrices.js';
import { layOut, type ConvertedLayout, type RoundedMatrix } from '../../assets/converted/layout.js';
import type { DerivedFile, DerivedFiles } from '../../assets/derived-files.js';
import { isRounded } from '../../assets/packed-weight.js';
import type { WeightFile } from '../../assets/weights.js';
import { DarkroomError } from '../../base/errors.js';
import type { WeightBits } from '../../models/details.js';
import type { Dialect } from '../../onnx/dialects/dialect.js';
import type { LoadRun } from '../component.js';
import { fluxWeights, onceGraphs, stepGraphs, type FluxWeights } from './graphs.js';

export interface RoundedFile {
  /** The weights, whose rounded matrices are those that are kept as soon as there are any. */
  readonly file: WeightFile;
  /**
   * Sees to it that the rounded matrices are kept, where that can be. Reports `convert` with bytes while they are made.
   * @returns what whoever asked should know
   * @throws invalidModelFile (values that are not finite), downloadFailed, aborted
   */
  prepare(run: LoadRun): Promise<readonly string[]>;
}

/**
 * @param name of the model, for messages
 * @param rounded tells which matrices are rounded, and how
 * @param derived keeps files that are made of the model's; absent: nothing can be kept
 */
export function createRoundedFile(
  name: string,
  given: WeightFile,
  rounded: () => readonly RoundedMatrix[],
  derived: DerivedFiles | undefined,
): RoundedFile {
  let kept: KeptMatrices | undefined;
  let answer: readonly string[] | undefined;
  const file: WeightFile = {
    ...given,
    get kept() {
      return kept;
    },
  };

  const keep = async (layout: ConvertedLayout, { progress, signal }: LoadRun): Promise<string | undefined> => {
    if (derived === undefined) return 'nothing is stored here.';
    const onBytes = (count: number): void => progress.bytes(count, layout.bytes);
    const conversion = await conversionOf(given, layout, 'transformer', { signal, onBytes });
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
    file,
    async prepare(run) {
      if (answer !== undefined) return answer;
      const matrices = rounded();
      if (matrices.length === 0) return (answer = []);
      const why = await keep(layOut(given, matrices), run);
      const said = `The weights of ${name} are rounded each time they are read, which is slow`;
      return (answer = why === undefined ? [] : [`${said}; the rounded ones could not be stored: ${why}`]);
    },
  };
}

const NO_ROOM: ReadonlySet<string> = new Set(['storageFull', 'storageFailed']);

/** What is rounded does not depend on the size of the picture. */
const ANY_SHAPE = { textTokens: 1, imageTokens: 1 } as const;

/** The matrices of a transformer's blocks that are rounded when they are read, each once. Those of the modulation have 8 bits. */
export function roundedMatrices(
  transformer: Pick<FluxWeights, 'file' | 'config'>,
  weightBits: WeightBits,
  dialect: Dialect,
): readonly RoundedMatrix[] {
  const { file } = transformer;
  const weights = fluxWeights({ transformer, weightBits }, new Map());
  const options = { dialect, dtype: 'float32' } as const;
  const { double, single } = stepGraphs(weights, ANY_SHAPE, options);
  const { modulation } = onceGraphs(weights, ANY_SHAPE, 1, options);
  const found = new Map<string, RoundedMatrix>();
  for (const { graph, prefixes } of [double, single, modulation.double, modulation.single]) {
    for (const prefix of prefixes) {
      for (const { tensors, packed } of graph.weights) {
        const name = prefix + (tensors[0] ?? '');
        const tensor = packed?.part === 'codes' ? file.find(name) : undefined;
        if (packed === undefined || tensor === undefined || tensor.shape.length !== 2) continue;
        if (isRounded(tensor, packed.format)) found.set(name, { name, format: packed.format });
      }
    }
  }
  return [...found.values()];
}
