/**
 * @file Linear combinations of float32 arrays in WebAssembly, two elements an instruction: `combine-loops.ts` to the bit, in a
 * third of the time. Written at run time, since a module of its own would be one more file to fetch. Float64 stays there.
 */
import { BLOCK, addRange, type AddRange, type Scaled } from './combine-loops.js';
import { assemble, wasm, type WasmFunction } from './wasm-assembler.js';

/** The most arrays that one pass adds up: no rule has more. */
const MOST = 5;

/**
 * Where block j of the memory begins, in bytes. A processor that compares addresses by their last 12 bits takes a load for one
 * of what has just been stored if the two differ by a little more than a multiple of 4096, and waits. Arrays of a page
 * begin near such a multiple, so blocks begin 2048 away from it; and each a cache line further than the one before.
 */
const placeOf = (block: number): number => 2048 + block * (4 * BLOCK + 64);

const PAGES = Math.ceil(placeOf(MOST) / 65_536);

/**
 * `block 0 = Σ factor_j·block j` of `count` blocks, each product and sum a double, in their order.
 * Parameters: where to end, in bytes from the beginning of a block, a multiple of 8 and not 0; the factors.
 * Result: the sum of the magnitudes.
 */
function sumOf(count: number): WasmFunction {
  const { localGet, localSet, localTee } = wasm;
  const blocks = Array.from({ length: count }, (_, j) => j);
  const end = 0;
  const factor = (j: number): number => 1 + j;
  const twice = (j: number): number => 1 + count + j; // the factor in both lanes
  const size = 1 + 2 * count;
  const value = size + 1;
  const position = size + 2;
  const product = (j: number) => [
    ...localGet(position),
    ...wasm.v128Load64Zero(placeOf(j)),
    ...wasm.f64x2PromoteLowF32x4,
    ...localGet(twice(j)),
    ...wasm.f64x2Mul,
  ];
  return {
    name: `sum${count}`,
    params: ['i32', ...blocks.map(() => 'f64' as const)],
    locals: [...blocks.map(() => 'v128' as const), 'v128', 'v128', 'i32'],
    result: 'f64',
    body: [
      ...blocks.flatMap((j) => [...localGet(factor(j)), ...wasm.f64x2Splat, ...localSet(twice(j))]),
      ...wasm.loopWhile(
        localGet(position), // the address of the store
        ...blocks.map((j) => (j === 0 ? product(j) : [...product(j), ...wasm.f64x2Add])),
        localTee(value),
        wasm.f32x4DemoteF64x2Zero,
        wasm.v128Store64Lane0(placeOf(0)),
        [...localGet(size), ...localGet(value), ...wasm.f64x2Abs, ...wasm.f64x2Add, ...localSet(size)],
        [...localGet(position), ...wasm.i32Const(8), ...wasm.i32Add, ...localTee(position)],
        [...localGet(end), ...wasm.i32LtU],
      ),
      ...[...localGet(size), ...wasm.f64x2ExtractLane(0)],
      ...[...localGet(size), ...wasm.f64x2ExtractLane(1), ...wasm.f64Add],
    ],
  };
}

/** The module's functions by number of arrays, less one, and its memory. */
interface Kernel {
  readonly sums: readonly ((end: number, ...factors: readonly number[]) => number)[];
  readonly memory: ArrayBuffer;
}

/** The module, or `undefined` where the engine has no WebAssembly with vectors or the page's policy forbids it. */
function instantiate(): Kernel | undefined {
  const counts = Array.from({ length: MOST }, (_, j) => j + 1);
  const bytes = assemble(counts.map(sumOf), PAGES);
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(bytes)) return undefined;
  try {
    // Of under 4 KB, a module may be compiled at once everywhere.
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    const { memory } = exports as { readonly memory: WebAssembly.Memory }; // as written above
    const sums = exports as Readonly<Record<string, Kernel['sums'][number]>>; // likewise
    return { memory: memory.buffer, sums: counts.flatMap((count) => sums[`sum${count}`] ?? []) };
  } catch {
    // Whatever the reason is (a policy without 'wasm-unsafe-eval', no memory): the same sums are to be had without.
    return undefined;
  }
}

const isFloat32 = ([, array]: Scaled): boolean => array instanceof Float32Array;

/**
 * An `addRange` that is quicker where it can be. It has a memory of its own, through which the arrays go block by block: make
 * one for a run, not for a sum.
 */
export function createSumKernel(): AddRange {
  const kernel = instantiate();
  if (kernel === undefined) return addRange;
  const blocks = Array.from({ length: MOST }, (_, j) => new Float32Array(kernel.memory, placeOf(j), BLOCK));
  return (out, begin, end, terms) => {
    const add = kernel.sums[terms.length - 1];
    const [result] = blocks;
    const even = (end - begin) & ~1;
    const fits = out instanceof Float32Array && terms.every(isFloat32);
    if (add === undefined || result === undefined || even === 0 || !fits) return addRange(out, begin, end, terms);
    terms.forEach(([, array], j) => blocks[j]?.set(array.subarray(begin, begin + even)));
    const size = add(4 * even, ...terms.map(([factor]) => factor));
    out.set(even === BLOCK ? result : result.subarray(0, even), begin);
    return even === end - begin ? size : size + addRange(out, begin + even, end, terms);
  };
}
