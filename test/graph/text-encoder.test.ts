/** @file Text encoders on the CPU against transformers: hidden states, hidden tokens, pooled vectors, of two tiny CLIP encoders. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProgress } from '../../src/pipeline/progress.js';
import { createComponent } from '../../src/pipeline/component.js';
import { TOKEN_TABLE } from '../../src/graphs/clip-text.js';
import { openTokenTable } from '../../src/pipeline/token-table.js';
import { loadEncoder, type EncodeRow } from '../../src/pipeline/text-encoder.js';
import { openWeights } from '../../src/assets/weights.js';
import { CLIP_TEXT_LAYOUT } from '../../src/models/layouts/diffusers.js';
import { parseClipTextConfig } from '../../src/models/configs/clip-text.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { readGoldenJson, readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin, type Comparison } from '../golden-runner/report.js';

const folder = nodeFolder(join(import.meta.dirname, '../golden'));

interface Call {
  readonly encoder: string;
  readonly ids: readonly number[];
  readonly mask: readonly number[] | null;
}

let runtime: Runtime;
let calls: readonly Call[];
let golden: ReadonlyMap<string, Float64Array>;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  calls = ((await readGoldenJson(folder, 'weights/prompts.json')) as { calls: readonly Call[] }).calls;
  golden = await readTensors(folder, 'weights/tensors.safetensors');
});
afterAll(() => runtime.dispose());

async function open(name: string, slot: 1 | 2, penultimate: boolean, masked: boolean): Promise<EncodeRow> {
  const config = parseClipTextConfig(await readGoldenJson(folder, `weights/${name}/config.json`));
  const file = await openWeights(folder.tree('weights'), name, ['model'], { layout: CLIP_TEXT_LAYOUT });
  const tokenizer = createClipTokenizer(await readTokenizerFiles(folder.tree('tokens'), 'clip'));
  const embed = openTokenTable(file, { name: TOKEN_TABLE, size: config.vocabSize, width: config.hiddenSize });
  const encoder = { ...createComponent(runtime, file), config, slot, tokenizer, embed };
  const progress = createProgress(
    { taskUUID: '', numberResults: 1 },
    () => undefined,
    () => 0,
  );
  return loadEncoder({ runtime, dtype: 'float32' }, encoder, { penultimate, clipSkips: [0], masked }, { progress });
}

describe.each([
  ['encoder-1', 1, false, 'last'],
  ['encoder-1', 1, true, 'penultimate'],
  ['encoder-2', 2, true, 'penultimate'],
] as const)('%s (slot %i, penultimate %s)', (name, slot, penultimate, key) => {
  it.each([false, true])('gives what transformers gives; tokens hidden: %s', async (masked) => {
    const encode = await open(name, slot, penultimate, masked);
    const results: Comparison[] = [];
    for (const [k, call] of calls.entries()) {
      if (call.encoder !== name || (call.mask !== null) !== masked) continue;
      const { states, pooled } = await encode(
        Int32Array.from(call.ids),
        call.mask === null ? undefined : Uint8Array.from(call.mask),
      );
      const expected = golden.get(`call/${k}/${key}`);
      if (expected !== undefined)
        results.push(compare(`call ${k} ${key}`, states(0), expected, { absolute: 1e-4, relative: 0 }));
      const vector = golden.get(`call/${k}/pooled`);
      if (vector !== undefined && pooled !== undefined)
        results.push(compare(`call ${k} pooled`, pooled, vector, { absolute: 1e-4, relative: 0 }));
    }
    expect(results.length).toBeGreaterThanOrEqual(2);
    expect(results.filter((result) => !isWithin(result))).toEqual([]);
  });
});
