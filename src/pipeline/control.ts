/** @file ControlNets at work: guides become features once, then at each step residuals for the UNet, which never leave the device. */
import {
  CONTROL_IO,
  controlNetGraph,
  controlNetHintGraph,
  residualIO,
  type ControlNetShape,
} from '../graphs/controlnet.js';
import { residualShapes, type UNetShape } from '../graphs/unet.js';
import type { RgbPicture } from '../image/pixels.js';
import type { ControlNetConfig } from '../models/configs/controlnet.js';
import type { DeviceArray } from '../runtime/device-array.js';
import type { Inputs } from '../runtime/session.js';
import type { ControlNet } from './add-ons.js';
import type { Compute, StageRun } from './conditioning.js';
import { actsAt, scalesOf, type PlannedControl } from './control-plan.js';
import { fromDialect, toDialect } from './layout.js';
import { twoDigits } from './trace.js';

/** By the names of the UNet's inputs. */
export type Residuals = Readonly<Record<string, DeviceArray>>;

/** What the rows of a batch are. */
export type Rows = readonly ('uncond' | 'cond')[];

/** The UNet's inputs of one evaluation, a row for each of `Rows`. */
export type UNetInputs = Readonly<Record<string, Float32Array>>;

export interface Control {
  /** Whether branches of guidance that say the same still differ, in what controls them. */
  readonly asymmetric: boolean;
  /** The sum over the nets that act in this step; zeros where none does. Good until the next call. */
  residuals(step: number, rows: Rows, inputs: UNetInputs): Promise<Residuals>;
  /** Frees arrays; the nets stay loaded. */
  dispose(): void;
}

/** A net, what it is asked to do, and its guide in the size of the picture. */
export interface ControlPart {
  readonly net: ControlNet;
  readonly plan: PlannedControl;
  readonly guide: RgbPicture;
}

/** @param shape of the UNet's evaluations: its batch is the number of rows */
export async function createControl(
  compute: Compute,
  parts: readonly ControlPart[],
  shape: UNetShape,
  run: StageRun,
): Promise<Control> {
  const owned: DeviceArray[] = [];
  const dispose = (): void => {
    for (const array of owned.splice(0)) array.dispose();
  };
  try {
    const nets: Net[] = [];
    for (const part of parts) nets.push(await openNet(compute, part, shape, run, owned));
    const zeros = await zerosOf(compute, parts[0]?.net.config, shape, owned);
    const show = createShow(compute, run);
    let last = zeros;
    const replace = (next: Residuals): void => {
      if (last !== zeros) for (const array of Object.values(last)) array.dispose();
      last = next;
    };
    return {
      asymmetric: parts.some(({ plan }) => plan.mode === 'controlnet'),
      async residuals(step, rows, inputs) {
        replace(zeros);
        for (const [index, net] of nets.entries()) {
          if (net.plan.mode === 'controlnet' && !rows.includes('cond')) continue;
          const before = last;
          const sum = actsAt(net.plan, step) ? await net.add(before, rows, inputs) : before;
          await show.net(index, sum, before);
          if (sum !== before) replace(sum);
        }
        await show.sum(last);
        return last;
      },
      dispose() {
        replace(zeros);
        dispose();
      },
    };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** A net with its guide on the device. */
interface Net {
  readonly plan: PlannedControl;
  /** Its residuals and those before it; new arrays. */
  add(before: Residuals, rows: Rows, inputs: UNetInputs): Promise<Residuals>;
}

async function openNet(
  compute: Compute,
  { net, plan, guide }: ControlPart,
  { batch: rowCount, ...size }: UNetShape,
  run: StageRun,
  owned: DeviceArray[],
): Promise<Net> {
  // Control without the prompt is nothing: there, one row is computed and scaled by 0 for the other.
  const batch = plan.mode === 'controlnet' ? 1 : rowCount;
  const shape: ControlNetShape = { ...size, batch, rows: rowCount };
  const options = { dialect: compute.runtime.dialect, dtype: compute.dtype };
  const hint = await hintOf(compute, { net, guide }, shape, run, owned);
  const names = residualShapes(net.config, shape).map(({ name }) => name);
  const scales = scalesOf(plan, names.length);
  return {
    plan,
    async add(before, rows, inputs) {
      const model = await net.load(
        `${Object.values(shape).join('x')} ${options.dtype}`,
        () => controlNetGraph(net.config, shape, { ...options, previous: true }),
        run,
        names,
      );
      const feeds: Record<string, Inputs[string]> = { [CONTROL_IO.hint]: hint };
      for (const { name } of model.graph.inputs) {
        const input = inputs[name];
        if (input !== undefined) feeds[name] = batch < rowCount ? rowOf(input, rows.indexOf('cond'), rowCount) : input;
      }
      names.forEach((name, i) => {
        const io = residualIO(name);
        feeds[io.scale] = Float32Array.from(rows, (side) => scales[side][i] ?? 0);
        const sum = before[name];
        if (sum !== undefined) feeds[io.previous] = sum;
      });
      return (await model.runKept(feeds, run.signal)).kept;
    },
  };
}

function rowOf(values: Float32Array, row: number, rows: number): Float32Array {
  const length = values.length / rows;
  return values.subarray(row * length, (row + 1) * length);
}

/**
 * The guide's features. They do not depend on the step, so a graph of their own makes them once: into an array of ours, since an output that
 * ONNX Runtime keeps is never freed once its session is gone.
 */
async function hintOf(
  { runtime, dtype }: Compute,
  { net, guide }: Pick<ControlPart, 'net' | 'guide'>,
  shape: ControlNetShape,
  run: StageRun,
  owned: DeviceArray[],
): Promise<DeviceArray> {
  const { dialect } = runtime;
  const [c = 0] = net.config.blockOutChannels;
  const hint = await runtime.zeros(dialect.imageShape({ n: shape.batch, h: shape.height, w: shape.width, c }), dtype);
  owned.push(hint);
  await net.once(
    () => controlNetHintGraph(net.config, shape, { dialect, dtype }),
    run,
    (model) =>
      model.runInto(
        { [CONTROL_IO.guide]: toDialect(dialect.layout, planesOf(guide, net.config), 3) },
        { [CONTROL_IO.hint]: hint },
        run.signal,
      ),
  );
  return hint;
}

/** RGB bytes → `[3, H, W]` from 0 to 1, in the order of colours that the net was trained on. */
function planesOf({ rgb, width, height }: RgbPicture, { channelOrder }: ControlNetConfig): Float32Array {
  const area = width * height;
  const planes = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const from = channelOrder === 'rgb' ? c : 2 - c;
    for (let i = 0; i < area; i++) planes[c * area + i] = (rgb[3 * i + from] ?? 0) / 255;
  }
  return planes;
}

/** What the first net adds its residuals to, and what the UNet sees in steps outside all windows. */
async function zerosOf(
  { runtime, dtype }: Compute,
  config: ControlNetConfig | undefined,
  shape: UNetShape,
  owned: DeviceArray[],
): Promise<Residuals> {
  const zeros: Record<string, DeviceArray> = {};
  for (const { name, ...size } of config === undefined ? [] : residualShapes(config, shape)) {
    const array = await runtime.zeros(runtime.dialect.imageShape(size), dtype);
    owned.push(array);
    zeros[name] = array;
  }
  return zeros;
}

/** Shows each net's residuals at the first step (of the last row, the conditional branch; zeros outside its window), and their sum. */
function createShow({ runtime }: Compute, { trace }: StageRun) {
  const shown = new Set<string>();
  const values = async (array: DeviceArray): Promise<Float32Array> => {
    const [n = 1, ...rest] = array.shape;
    const channels = (runtime.dialect.layout === 'nhwc' ? rest[2] : rest[0]) ?? 1;
    const all = await array.read();
    const rows = Array.from({ length: n }, (_, i) => fromDialect(runtime.dialect.layout, rowOf(all, i, n), channels));
    return Float32Array.from(rows.flatMap((row) => [...row]));
  };
  const isNew = (name: string): boolean => trace !== undefined && !shown.has(name) && shown.add(name).size > 0;
  return {
    async net(index: number, sum: Residuals, before: Residuals): Promise<void> {
      if (!isNew(`control.${index}`)) return;
      for (const [i, [name, array]] of Object.entries(sum).entries()) {
        const [total, others] = [
          await values(array),
          await (before[name] === undefined ? undefined : values(before[name])),
        ];
        const own = total.map((value, at) => value - (others?.[at] ?? 0));
        const [rows = 1] = array.shape;
        trace?.(`control.${index}.residual.${twoDigits(i)}`, rowOf(own, rows - 1, rows).slice());
      }
    },
    async sum(sum: Residuals): Promise<void> {
      if (!isNew('control')) return;
      for (const [i, array] of Object.values(sum).entries()) {
        trace?.(`control.residual.${twoDigits(i)}`, await values(array));
      }
    },
  };
}
