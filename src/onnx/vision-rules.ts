/** @file Shape rules of operators that networks for pictures use (pooling, resizing, transposed convolution); part of shape-rules.ts. */
import { attribute, constant, dim, expect, input, isFloat, like, numbers, type Call, type TypedShape } from './call.js';

type Rule = (call: Call) => readonly TypedShape[];

/** Where channels and the two spatial axes are. */
interface Axes {
  readonly channels: number;
  readonly spatial: readonly [number, number];
}

const NCHW: Axes = { channels: 1, spatial: [2, 3] };
const NHWC: Axes = { channels: 3, spatial: [1, 2] };

function maxPool({ spatial }: Axes): Rule {
  return (call) => {
    const x = input(call, 0);
    expect(call, isFloat(x) && x.shape.length === 4, 'needs a float tensor of rank 4');
    const kernel = numbers(call, 'kernel_shape', []);
    const strides = numbers(call, 'strides', [1, 1]);
    expect(call, kernel.length === 2, 'kernel_shape must have two sizes');
    expect(
      call,
      numbers(call, 'pads', [0, 0, 0, 0]).every((size) => size === 0),
      'pads are not supported here',
    );
    const shape = [...x.shape];
    spatial.forEach((axis, i) => {
      shape[axis] = Math.floor((dim(x, axis) - (kernel[i] ?? 1)) / (strides[i] ?? 1)) + 1;
      expect(call, (shape[axis] ?? 0) > 0, 'the window is larger than the input');
    });
    return like(x, shape);
  };
}

/** W is `[I, O, kh, kw]`. */
function convTranspose({ channels, spatial }: Axes): Rule {
  return (call) => {
    const x = input(call, 0);
    const w = input(call, 1);
    const bias = call.inputs[2];
    expect(call, isFloat(x) && x.shape.length === 4 && w.shape.length === 4, 'needs a float rank-4 X and W');
    expect(call, w.dtype === x.dtype && attribute(call, 'group', 1) === 1, 'W must have the dtype of X, in one group');
    expect(call, dim(w, 0) === dim(x, channels), `W expects ${dim(w, 0)} input channels, X has ${dim(x, channels)}`);
    expect(
      call,
      bias === undefined || (bias.shape.length === 1 && dim(bias, 0) === dim(w, 1)),
      `bias must be [${dim(w, 1)}]`,
    );
    const pads = numbers(call, 'pads', [0, 0, 0, 0]);
    const strides = numbers(call, 'strides', [1, 1]);
    const more = numbers(call, 'output_padding', [0, 0]);
    const shape = [...x.shape];
    shape[channels] = dim(w, 1);
    spatial.forEach((axis, i) => {
      const grown = (dim(x, axis) - 1) * (strides[i] ?? 1) + dim(w, 2 + i) + (more[i] ?? 0);
      shape[axis] = grown - (pads[i] ?? 0) - (pads[i + 2] ?? 0);
      expect(call, (shape[axis] ?? 0) > 0, 'the pads are larger than the output');
    });
    return like(x, shape);
  };
}

/** With the new sizes as the fourth input. */
const resize: Rule = (call) => {
  const x = input(call, 0);
  const sizes = constant(call, 3);
  expect(call, isFloat(x) && sizes.length === x.shape.length, 'needs a float tensor and one size per axis');
  expect(
    call,
    sizes.every((size) => size > 0),
    'the new sizes must be written out',
  );
  return like(x, sizes);
};

const elementwise: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x), 'needs a float tensor');
  return like(x);
};

export const VISION_RULES: Readonly<Record<string, Rule>> = {
  MaxPool: maxPool(NCHW),
  'com.ms.internal.nhwc:MaxPool': maxPool(NHWC),
  ConvTranspose: convTranspose(NCHW),
  'com.ms.internal.nhwc:ConvTranspose': convTranspose(NHWC),
  Resize: resize,
  LeakyRelu: elementwise,
};
