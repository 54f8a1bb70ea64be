/** @file The goldens that need no network: seeded noise, bit for bit, and token ids of every prompt. */
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { createGenerator } from '../../src/sampling/noise.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { readGoldenJson, type GoldenFolder } from './files.js';
import { compare, isWithin, type Comparison, type Outcome } from './report.js';

const EXACT = { absolute: 0, relative: 0 } as const;

interface NoiseDraw {
  readonly seed: string;
  readonly dtype: 'f32' | 'f64' | 'f16' | 'bf16';
  readonly n: number;
  readonly sha256: string;
}

/** Every float32 and half draw's SHA-256; one mismatch is a failure at that draw. */
export async function runNoise(folder: GoldenFolder): Promise<Outcome> {
  const start = performance.now();
  const { randn } = (await readGoldenJson(folder, 'noise/noise.json')) as { readonly randn: readonly NoiseDraw[] };
  const comparisons: Comparison[] = [];
  for (const { seed, dtype, n, sha256 } of randn) {
    if (dtype === 'f64') continue; // within 1e-14, not to the bit: the unit tests compare the values
    const generator = createGenerator(BigInt(seed));
    const values =
      dtype === 'f32' ? generator.randn(n) : generator.randnHalf(n, dtype === 'f16' ? 'float16' : 'bfloat16');
    const same = (await sha256Hex(values)) === sha256;
    comparisons.push(compare(`randn(${n}) ${dtype} seed ${seed}`, [same ? 0 : 1], [0], EXACT));
  }
  return outcome('noise', 'noise.json', comparisons, start);
}

async function sha256Hex(values: Float32Array | Uint16Array): Promise<string> {
  const bytes = new Uint8Array(values.byteLength);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  const hash = await crypto.subtle.digest('SHA-256', bytes);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

interface PromptIds {
  readonly text: string | null;
  readonly utf16?: readonly number[];
  readonly clip?: { readonly ids: readonly number[] };
  readonly clip2?: { readonly ids: readonly number[] };
}

/** Ids with begin and end, of all prompts, by both CLIP tokenizers. */
export async function runTokens(folder: GoldenFolder): Promise<readonly Outcome[]> {
  const { prompts } = (await readGoldenJson(folder, 'tokens/prompts.json')) as {
    readonly prompts: readonly PromptIds[];
  };
  const outcomes: Outcome[] = [];
  for (const name of ['clip', 'clip2'] as const) {
    const start = performance.now();
    const tokenizer = createClipTokenizer(await readTokenizerFiles(folder.tree('tokens'), name));
    const comparisons = prompts.flatMap((prompt, i): Comparison[] => {
      const ids = (prompt[name] ?? prompt.clip)?.ids;
      if (ids === undefined) return [];
      const text = prompt.text ?? String.fromCharCode(...(prompt.utf16 ?? []));
      return [
        compare(
          `prompt ${i} ${JSON.stringify(text.slice(0, 40))}`,
          [tokenizer.bos, ...tokenizer.encode(text), tokenizer.eos],
          ids,
          EXACT,
        ),
      ];
    });
    outcomes.push(outcome('tokens', name, comparisons, start));
  }
  return outcomes;
}

function outcome(kind: Outcome['kind'], name: string, comparisons: readonly Comparison[], start: number): Outcome {
  const status = comparisons.length > 0 && comparisons.every(isWithin) ? 'passed' : 'failed';
  return { kind, name, status, comparisons, seconds: (performance.now() - start) / 1000 };
}
