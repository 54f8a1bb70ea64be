/** @file One operator call as the verifier sees it, and the questions that shape rules ask of it. */
import { fail } from '../base/errors.js';
import type { Attribute, Attributes, ElementType, Value } from './types.js';

export interface TypedShape {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

/** What a rule sees: the call as written, and constants' contents where a rule depends on them. */
export interface Call {
  readonly op: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  readonly constant: (value: Value) => readonly number[] | undefined;
}

export function refuse(call: Call, problem: string): never {
  const got = call.inputs.map((v) => (v === undefined ? '–' : `${v.dtype}[${v.shape.join(',')}]`)).join(', ');
  throw fail('invalidGraph', `${call.op}(${got}): ${problem}.`);
}

export function expect(call: Call, condition: boolean, problem: string): void {
  if (!condition) refuse(call, problem);
}

export function input(call: Call, index: number): Value {
  const value = call.inputs[index];
  if (value === undefined) refuse(call, `input ${index} is missing`);
  return value;
}

export function dim(value: Value, axis: number): number {
  return value.shape[axis < 0 ? value.shape.length + axis : axis] ?? 0;
}

export function isFloat(value: Value): boolean {
  return value.dtype === 'float32' || value.dtype === 'float16';
}

export function attribute(call: Call, name: string, fallback: number): number {
  const value: Attribute | undefined = call.attributes[name];
  return typeof value === 'number' ? value : fallback;
}

export function numbers(call: Call, name: string, fallback: readonly number[]): readonly number[] {
  const value = call.attributes[name];
  return Array.isArray(value) ? value.filter((v): v is number => typeof v === 'number') : fallback;
}

export function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

export function like(value: Value, shape: readonly number[] = value.shape): readonly TypedShape[] {
  return [{ dtype: value.dtype, shape }];
}

export function constant(call: Call, index: number): readonly number[] {
  const data = call.constant(input(call, index));
  if (data === undefined) refuse(call, `input ${index} must be a constant of the graph`);
  return data;
}
