/** @file A LoRA file against a model: which weights it changes, and which of its tensors belong to no weight. From names and shapes alone. */
import { fail } from '../../base/errors.js';
import { elementCount } from '../../base/dtype.js';
import type { TensorShapes } from '../layouts/layout.js';
import { createAddressBook, type LayerPlace, type NetworkWeights } from './addresses.js';
import { sizeText } from './form-shapes.js';
import { formsOf, type FormedChange } from './forms.js';
import { groupLayers, showKey } from './keys.js';

/** The change of one weight of the model, as names of tensors. */
export interface MatchedChange extends FormedChange {
  readonly place: LayerPlace;
  /** Internal name. */
  readonly weight: string;
}

export interface LoraMatch {
  /** In the order of the file. */
  readonly changes: readonly MatchedChange[];
  /** Tensors that belong to no weight of the model, or are of no known kind. */
  readonly unmatched: readonly string[];
  /** Tensors for layers of a text encoder behind the last one that is run; second copies of layers. */
  readonly unused: readonly string[];
  /** Tensors for FLUX.1's T5, which is not changed. */
  readonly t5: readonly string[];
}

/** A file, for messages. */
export interface LoraSubject {
  readonly name: string;
  /** Continues "NAME is …". */
  readonly what: string;
  readonly tensors: TensorShapes;
}

/**
 * The time is linear in the number of tensors.
 * @throws incompatibleLora (a change of another size than its weight, or most of the file belongs to no weight), invalidModelFile,
 *   unsupportedModel (DoRA over inputs of several layers at once)
 */
export function matchLora(subject: LoraSubject, networks: readonly NetworkWeights[]): LoraMatch {
  const { name, tensors } = subject;
  const book = createAddressBook(networks);
  const changes = new Map<string, MatchedChange>();
  const known = new Set<string>();
  const unused: string[] = [];
  const t5: string[] = [];

  const matchLayer = (forms: readonly FormedChange[], place: LayerPlace): void => {
    for (const formed of forms) {
      const weight = `${place.module}.${formed.leaf}`;
      const shape = book.shapeOf(place.network, weight);
      if (shape === undefined) continue; // a bias that the model does not have
      const change: MatchedChange = { ...formed, place, weight };
      checkSize(change, shape, subject);
      for (const tensor of formed.tensors) known.add(tensor.name);
      const key = `${place.network}/${weight}`;
      const [kept, dropped] = choose(changes.get(key), change, name);
      changes.set(key, kept);
      for (const tensor of dropped?.tensors ?? []) unused.push(tensor.name);
    }
  };

  for (const layer of groupLayers(tensors, name)) {
    const places = book.find(layer.address);
    const set = places === 'unused' ? unused : places === 't5' ? t5 : undefined;
    if (set !== undefined) for (const tensor of layer.parts.values()) set.push(tensor.name);
    else if (places !== undefined && typeof places !== 'string') {
      const forms = formsOf(layer, name);
      for (const place of places) matchLayer(forms, place);
    }
  }
  const match = { changes: [...changes.values()], unmatched: without(tensors.keys(), known, unused, t5), unused, t5 };
  checkShare(match, subject);
  return match;
}

/**
 * Some files have layers twice, under diffusers' names and the original code's: diffusers drops the latter, and so is it done here.
 * @throws invalidModelFile for any other two changes of one weight
 */
function choose(
  first: MatchedChange | undefined,
  second: MatchedChange,
  file: string,
): readonly [MatchedChange, MatchedChange?] {
  if (first === undefined) return [second];
  if (first.place.original !== second.place.original) return first.place.original ? [second, first] : [first, second];
  const [a, b] = [first, second].map(({ tensors }) => showKey(tensors[0]?.name ?? ''));
  throw fail('invalidModelFile', `${file}: ${a} and ${b} both change ${first.weight}.`, {
    parameter: 'lora',
    hint: 'A file with one adapter was expected.',
  });
}

function without(names: Iterable<string>, ...others: readonly Iterable<string>[]): readonly string[] {
  const known = new Set(others.flatMap((list) => [...list]));
  return [...names].filter((name) => !known.has(name));
}

function checkSize(change: MatchedChange, shape: readonly number[], subject: LoraSubject): void {
  const { size, tensors, weight, leaf, place } = change;
  const [rows = 1, ...rest] = shape;
  const { count = 1, of = 1 } = place.rows?.part ?? {};
  const wanted = { rows: (rows / count) * of, columns: elementCount(rest) };
  const halves = place.rows?.swapped !== true || rows % 2 === 0;
  if (wanted.rows === size.rows && wanted.columns === size.columns && halves) {
    checkInputs(change, shape, subject);
    return;
  }
  const part = tensors.find(({ shape: own }) => own.length > 0);
  const fused = of === 1 ? 'is ' : 'and its neighbours are ';
  const stored = shape.length === 2 ? '' : `, stored as [${shape.join(', ')}]`;
  throw incompatible(
    subject,
    `${showKey(part?.name ?? '')} is for a ${leaf} ${sizeText(size)}, ${weight} of this model ${fused}${sizeText(wanted)}${stored}`,
  );
}

/** Norms of inputs are over all rows: of the rows of one layer of several they say nothing. */
function checkInputs({ magnitude, place, weight }: MatchedChange, shape: readonly number[], subject: LoraSubject): void {
  if (magnitude?.of !== 'inputs') return;
  const { name } = magnitude.tensor;
  if (place.rows?.part !== undefined) {
    throw fail('unsupportedModel', `${subject.name}: ${showKey(name)} is DoRA with a norm per input, for layers that are apart here.`, {
      parameter: 'lora',
      hint: 'DoRA with a norm per output (wd_on_out, as peft has it) is supported there.',
    });
  }
  if (magnitude.tensor.shape[1] !== shape[1])
    throw incompatible(subject, `${showKey(name)} has ${magnitude.tensor.shape[1]} norms, ${weight} of this model has ${shape[1]} inputs`);
}

/** Where most of a file belongs nowhere, the rest fits by chance: networks of other models have layers of the same names and sizes. */
function checkShare({ changes, unmatched, unused, t5 }: LoraMatch, subject: LoraSubject): void {
  const total = subject.tensors.size;
  if (t5.length > 0 && t5.length + unmatched.length === total)
    throw incompatible(subject, `it changes T5 alone, which LoRAs do not change here, as in diffusers (${showKey(t5[0] ?? '')})`);
  if (unmatched.length * 2 <= total && changes.length + unused.length > 0) return;
  throw incompatible(
    subject,
    `${unmatched.length} of its ${total} tensors belong to no weight of this model, the first is ${showKey(unmatched[0] ?? '')}`,
  );
}

function incompatible({ name, what }: LoraSubject, why: string): Error {
  return fail('incompatibleLora', `${name} is ${what}; it does not fit this model: ${why}.`, {
    parameter: 'lora',
    hint: 'A LoRA works with models of the family that it was trained on.',
  });
}
