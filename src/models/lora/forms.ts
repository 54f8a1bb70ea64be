/** @file What the parts of a layer make: the forms of the changes of its weight and its bias, checked. */
import { fail } from '../../base/errors.js';
import type { Factor, Factors, Form, Size } from './form.js';
import { broken, magnitudeOf, rankOf, sizeOfForm, type FormContext, type Magnitude } from './form-shapes.js';
import { showKey, type LoraLayer, type LoraTensor, type Part } from './keys.js';

/** The change of one weight of a layer. */
export interface FormedChange {
  readonly leaf: 'weight' | 'bias';
  readonly form: Form;
  readonly size: Size;
  /** What alpha is divided by; `undefined` where the format has no alpha. */
  readonly rank: number | undefined;
  readonly alpha: LoraTensor | undefined;
  /** DoRA's norms. */
  readonly magnitude: Magnitude | undefined;
  /** The tensors that it is made of. */
  readonly tensors: readonly LoraTensor[];
}

/**
 * The changes that a layer's parts make: at most one of its weight, and one of its bias.
 * @param file for messages
 * @throws invalidModelFile naming the tensor: a part without its partner, shapes that do not fit together, a layer changed in two ways
 */
export function formsOf(layer: LoraLayer, file: string): readonly FormedChange[] {
  const context: FormContext = { ...layer, file };
  const weight = weightForm(context);
  const bias = layer.parts.get('diff_b') ?? layer.parts.get('b_norm');
  return [
    ...(weight === undefined ? [] : [formWeight(weight, context)]),
    ...(bias === undefined ? [] : [whole('bias', bias, context)]),
  ];
}

const KINDS: readonly { readonly parts: RegExp; readonly form: (context: FormContext) => Form }[] = [
  { parts: /^(down|up|mid)$/, form: readLora },
  { parts: /^hada_/, form: readLoha },
  { parts: /^lokr_/, form: readLokr },
  { parts: /^diff$/, form: (context) => ({ kind: 'full', values: demand('diff', context) }) },
  { parts: /^w_norm$/, form: (context) => ({ kind: 'full', values: demand('w_norm', context) }) },
];

function weightForm(context: FormContext): Form | undefined {
  const names = [...context.parts.keys()];
  const kinds = KINDS.filter(({ parts }) => names.some((name) => parts.test(name)));
  if (kinds.length > 1) throw broken(context, `changes its weight in ${kinds.length} ways (${names.join(', ')})`);
  return kinds[0]?.form(context);
}

/** LoRA: up · down (Hu et al. 2021, eq. 3); LoCon's `lora_mid` is the core of a decomposed kernel. */
function readLora(context: FormContext): Form {
  const core = context.parts.get('mid');
  return {
    kind: 'product',
    factor: { left: demand('up', context), right: demand('down', context), core, turned: false },
  };
}

/** LoHa: (w1_a · w1_b) ∘ (w2_a · w2_b) (Hyeon-Woo et al. 2021, eq. 1; with cores: appendix, proposition 3). */
function readLoha(context: FormContext): Form {
  const [first, second] = ([1, 2] as const).map((i): Factors => {
    const core = context.parts.get(`hada_t${i}`);
    const [left, right] = [demand(`hada_w${i}_a`, context), demand(`hada_w${i}_b`, context)];
    return { left, right, core, turned: core !== undefined };
  });
  if (first === undefined || second === undefined) throw broken(context, 'is incomplete');
  if ((first.core === undefined) !== (second.core === undefined))
    throw broken(context, 'has one of hada_t1 and hada_t2; both were expected');
  return { kind: 'hadamard', first, second };
}

/** LoKr: w1 ⊗ w2, each whole or a product (Yeh et al. 2023, §4.3). */
function readLokr(context: FormContext): Form {
  const factor = (i: 1 | 2): Factor => {
    const stored = context.parts.get(`lokr_w${i}`);
    const core = i === 2 ? context.parts.get('lokr_t2') : undefined;
    if (stored === undefined) {
      return {
        left: demand(`lokr_w${i}_a`, context),
        right: demand(`lokr_w${i}_b`, context),
        core,
        turned: core !== undefined,
      };
    }
    const surplus = core ?? context.parts.get(`lokr_w${i}_a`) ?? context.parts.get(`lokr_w${i}_b`);
    if (surplus === undefined) return { whole: stored };
    throw broken(context, `has ${showKey(surplus.name)} beside ${showKey(stored.name)}; one of them was expected`);
  };
  return { kind: 'kronecker', left: factor(1), right: factor(2) };
}

function formWeight(form: Form, context: FormContext): FormedChange {
  const { parts } = context;
  const size = sizeOfForm(form, context);
  const rank = rankOf(form);
  return {
    leaf: 'weight',
    form,
    size,
    rank,
    alpha: rank === undefined ? undefined : parts.get('alpha'),
    magnitude: magnitudeOf(size, context),
    // an alpha that the form has no use for is known all the same
    tensors: [...parts].flatMap(([part, tensor]) => (part === 'diff_b' || part === 'b_norm' ? [] : [tensor])),
  };
}

function whole(leaf: FormedChange['leaf'], values: LoraTensor, context: FormContext): FormedChange {
  const form: Form = { kind: 'full', values };
  const size = sizeOfForm(form, context);
  return { leaf, form, size, rank: undefined, alpha: undefined, magnitude: undefined, tensors: [values] };
}

function demand(part: Part, context: FormContext): LoraTensor {
  const tensor = context.parts.get(part);
  if (tensor !== undefined) return tensor;
  const there = [...context.parts.values()].map(({ name }) => showKey(name)).join(', ');
  throw fail(
    'invalidModelFile',
    `${context.file}: ${there} lack${context.parts.size > 1 ? '' : 's'} the part "${part}".`,
    {
      parameter: 'lora',
      hint: 'The file is damaged or incomplete: get it again.',
    },
  );
}
