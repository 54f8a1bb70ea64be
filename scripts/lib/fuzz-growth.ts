/** @file Fuzz target: time that grows faster than the input. Each reader is given an input of some size and one four times as large, long before either is slow. */
import { deflateSync } from 'node:zlib';
import { memorySource } from '../../src/assets/byte-source.js';
import { memoryTree } from '../../src/assets/file-tree.js';
import { openGguf } from '../../src/assets/gguf.js';
import { parseJson } from '../../src/assets/json.js';
import { openLora } from '../../src/assets/lora-file.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import { openShards } from '../../src/assets/weight-tensors.js';
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { restoreRequest } from '../../src/image/parameters.js';
import { parseInfotext } from '../../src/image/infotext.js';
import { decodePng, readPngText } from '../../src/image/png.js';
import { SIGNATURE, writeChunk } from '../../src/image/png-chunks.js';
import { readImageHeader } from '../../src/image/image-header.js';
import { bundledRegistry, register, resolve, type ModelRegistry } from '../../src/models/registry.js';
import { parseModelIndex } from '../../src/assets/model-index.js';
import { detectFile } from '../../src/models/detect.js';
import { parseTasks } from '../../src/request/tasks.js';
import { createClipTokenizer } from '../../src/text/clip-tokenizer.js';
import { createT5Tokenizer } from '../../src/text/t5-tokenizer.js';
import { jsonOf, type Golden } from './fuzz-configs.js';
import { withPlaces } from './fuzz-headers.js';
import { isObject, join } from './fuzz-mutate.js';
import { randomFrom, type Random } from './fuzz-random.js';
import { attempt, must, type Target } from './fuzz-target.js';

const TEXT = new TextEncoder();

/** Makes an input of `n` parts at random, and gives what reads it. */
type Growing = (n: number, random: Random) => () => unknown;

interface Grows {
  readonly what: string;
  /** Parts of the smaller input: some ms to read. */
  readonly from: number;
  readonly make: Growing;
}

function fileOf(tensors: Readonly<Record<string, unknown>>): Uint8Array<ArrayBuffer> {
  const head = TEXT.encode(JSON.stringify(withPlaces(tensors)));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(head.length), true);
  const size = Object.values(tensors).length * 4;
  return join(length, head, new Uint8Array(size));
}

const some = (n: number, nameOf: (i: number) => string) =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [nameOf(i), { dtype: 'F32', shape: [1] }]));

const NAMES: readonly ((i: number) => string)[] = [
  (i) => `lora_unet_down_blocks_${i}_attentions_0_proj_in.lora_down.weight`,
  (i) => `lora_unet_${'down_blocks_'.repeat(8)}${i}.lora_up.weight`,
  (i) => `transformer.transformer_blocks.${i}.attn.to_q.lora_A.weight`,
  (i) => `model.diffusion_model.input_blocks.${i}.0.weight`,
  (i) => `unet.${'a.'.repeat(40)}${i}.alpha`,
  (i) => `double_blocks.${i}.img_attn.qkv.weight`,
];

const tasksWith = (fields: object): readonly unknown[] => [
  { taskType: 'imageInference', taskUUID: '3f2c8a9e-9c5b-4d1e-8f7a-0b1c2d3e4f50', positivePrompt: 'a red fox', model: 'm', width: 512, height: 512, ...fields }, // prettier-ignore
];

/** Text that repeats one piece, which is what makes patterns go back and forth. */
const TEXTS = ['(', 'a', ' ', '"', '\\', ': ', ', ', 'Steps: 1, ', 'a:"', '\n', 'Steps: 1, a: 2, b: 3\n', 'Negative prompt:', '\r\n', '0', '{"a":', '[', '<', 'é']; // prettier-ignore

function png(...chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const header = Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0);
  const pixels = writeChunk('IDAT', deflateSync(new Uint8Array(2)));
  return join(Uint8Array.from(SIGNATURE), writeChunk('IHDR', header), ...chunks, pixels, writeChunk('IEND', new Uint8Array())); // prettier-ignore
}

function clipFiles(n: number, random: Random): Readonly<Record<string, Uint8Array>> {
  const letters = ['a', 'b', 'a</w>', 'b</w>'];
  const tokens = [...letters];
  const merges: string[] = [];
  const inner = ['a', 'b'];
  while (tokens.length < n + letters.length) {
    const [left, right] = [inner[random.int(Math.min(inner.length, 400))] ?? 'a', random.pick(inner.slice(-20))];
    if (left.length + right.length <= 100) inner.push(left + right);
    tokens.push(left + right);
    merges.push(`${left} ${right}`);
  }
  const names = [...new Set(tokens), '<|startoftext|>', '<|endoftext|>'];
  const vocab = Object.fromEntries(names.map((token, id) => [token, id]));
  return { 't/vocab.json': TEXT.encode(JSON.stringify(vocab)), 't/merges.txt': TEXT.encode(merges.join('\n')) };
}

const readClip = async (files: Readonly<Record<string, Uint8Array>>): Promise<void> => {
  const tokenizer = createClipTokenizer(await readTokenizerFiles(memoryTree('m', files), 't'));
  tokenizer.encode('ab'.repeat(1500));
};

function growths(golden: Golden): readonly Grows[] {
  const t5 = jsonOf(golden, 'models/flux-dev-tiny/tokenizer_2/tokenizer.json');
  const t5Files = (change: object): Readonly<Record<string, Uint8Array>> => ({ 't/tokenizer.json': TEXT.encode(JSON.stringify({ ...(isObject(t5) ? t5 : {}), ...change })) }); // prettier-ignore
  const readT5 = async (files: Readonly<Record<string, Uint8Array>>, text: string): Promise<void> =>
    void createT5Tokenizer(await readTokenizerFiles(memoryTree('m', files), 't')).encode(text);
  return [
    {
      what: 'tensors of a safetensors file, and what the file is',
      from: 4_000,
      make: (n, random) => {
        const file = fileOf(some(n, random.pick(NAMES)));
        return async () => detectFile(await openSafetensors(memorySource('f', file)));
      },
    },
    {
      what: 'tensors of a LoRA',
      from: 3_000,
      make: (n, random) => {
        const tree = memoryTree('l', { 'pytorch_lora_weights.safetensors': fileOf(some(n, random.pick(NAMES))) });
        const weights = [{ name: 'down_blocks.0.attentions.0.proj_in.weight', shape: [4, 4] }];
        return async () => (await openLora(tree)).changesFor([{ network: 'unet', weights }]);
      },
    },
    {
      what: 'entries of a shard index',
      from: 4_000,
      make: (n) => {
        const map = Object.fromEntries(Array.from({ length: n }, (_, i) => [`t${i}`, `s-${i % 900}.safetensors`]));
        const tree = memoryTree('m', { index: TEXT.encode(JSON.stringify({ weight_map: map })) });
        const index = memorySource('index', TEXT.encode(JSON.stringify({ weight_map: map })));
        return () => openShards(index, { tree, pathOf: (file) => file });
      },
    },
    {
      what: 'JSON',
      from: 20_000,
      make: (n, random) => {
        const text = random.pick([
          () => `[${'1,'.repeat(n)}1]`,
          () => `{${Array.from({ length: n }, (_, i) => `"k${i}":${i}`).join()}}`,
          () => `["${'\\u0041\\"'.repeat(n)}"]`,
          () => `${'\n'.repeat(n)}[${' '.repeat(n)}`,
          () => '['.repeat(n),
          () => `${'1'.repeat(n)}`,
          () => `{"a":"${'x'.repeat(n)}`,
        ])();
        return () => parseJson(text, 'f', { dialect: random.pick(['strict', 'python']), code: 'invalidModelConfig' });
      },
    },
    {
      what: 'metadata of a GGUF file',
      from: 4_000,
      make: (n, random) => {
        const text = (value: string): Uint8Array => join(number(TEXT.encode(value).length, 8), TEXT.encode(value));
        const one = random.pick([
          (i: number) => join(text(`k${i}`), number(8, 4), text('v')),
          (i: number) => join(text(`k${i}`), number(9, 4), number(8, 4), number(2, 8), text('a'), text('b')),
          (i: number) => join(text(`k${i}`), number(7, 4), Uint8Array.of(1)),
        ]);
        const parts = Array.from({ length: n }, (_, i) => one(i));
        const file = join(TEXT.encode('GGUF'), number(3, 4), number(0, 8), number(n, 8), ...parts);
        return () => openGguf(memorySource('f', file));
      },
    },
    {
      what: 'chunks and texts of a PNG file',
      from: 3_000,
      make: (n, random) => {
        const chunk = random.pick([
          () => writeChunk('tEXt', TEXT.encode('parameters\0a fox')),
          () => writeChunk('tEXt', TEXT.encode(`k${random.int(1e9)}\0a fox`)),
          () => writeChunk('iTXt', TEXT.encode(`k${random.int(1e9)}\0\0\0\0\0a fox`)),
          () => writeChunk('aBCd', new Uint8Array()),
          () => writeChunk('tEXt', join(TEXT.encode('parameters\0'), new Uint8Array(1000).fill(0x28))),
        ]);
        const file = png(...Array.from({ length: n }, chunk));
        return async () => [await attempt(() => decodePng(file)), await readPngText(file)];
      },
    },
    {
      what: 'segments of a JPEG file',
      from: 40_000,
      make: (n, random) => {
        const segment = random.pick([[0xff], [0xff, 0x01], [0xff, 0xe0, 0, 2], [0xff, 0xe0, 0, 0]]);
        const file = join(Uint8Array.of(0xff, 0xd8, 0xff), Uint8Array.from({ length: n * segment.length }, (_, i) => segment[i % segment.length] ?? 0)); // prettier-ignore
        return () => readImageHeader(file);
      },
    },
    {
      what: 'the text in a picture',
      from: 20_000,
      make: (n, random) => {
        const piece = random.pick(TEXTS);
        const text = random.pick(['', 'a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, ']) + piece.repeat(Math.ceil(n / piece.length)); // prettier-ignore
        return () => [parseInfotext(text), restoreRequest({ darkroom: text, parameters: text })];
      },
    },
    { what: "CLIP's vocabulary", from: 3_000, make: (n, random) => { const files = clipFiles(n, random); return () => readClip(files); } }, // prettier-ignore
    {
      what: "T5's vocabulary",
      from: 3_000,
      make: (n) => {
        const vocab = Array.from({ length: n }, (_, i) => [`▁${'a'.repeat(i % 90)}${i}`, -i / n]);
        const files = t5Files({ model: { type: 'Unigram', unk_id: 2, vocab: [['<pad>', 0], ['</s>', 0], ['<unk>', 0], ...vocab] }, added_tokens: [] }); // prettier-ignore
        return () => readT5(files, 'a'.repeat(3000));
      },
    },
    {
      what: 'added tokens of T5',
      from: 500,
      make: (n) => {
        const added = Array.from({ length: n }, (_, i) => ({ id: 1000 + i, content: `<${'x'.repeat(i % 30)}${i}>`, special: true })); // prettier-ignore
        return () => readT5(t5Files({ added_tokens: added }), '<x'.repeat(1500));
      },
    },
    {
      what: 'prompts of T5',
      from: 750,
      make: (n, random) => {
        const text = random
          .pick(['ﷺ', '\u0300', ' ', 'a', '각', '🦊', '▁', 'e\u0301', '<extra_id_0>', '\u0085'])
          .repeat(n);
        return () => readT5(t5Files({}), text);
      },
    },
    {
      what: 'entries of a request, and its names',
      from: 2_000,
      make: (n, random) => {
        const fields = random.pick([
          () => ({ lora: Array.from({ length: n }, (_, i) => ({ model: `l${i}`, weight: 9 })) }),
          () => Object.fromEntries(Array.from({ length: n }, (_, i) => [`unknown${i}`, i])),
          () => ({ positivePrompt: '🦊'.repeat(n) }),
          () => ({ model: 'm'.repeat(n), vae: ':@'.repeat(n) }),
          () => ({ seed: '9'.repeat(n), guideImage: 'A'.repeat(n) }),
          () => ({ seedImage: `data:image/png;${'a=b;'.repeat(n)}base64,${'A'.repeat(n)}` }),
          () => ({ scheduler: 'DPM++ '.repeat(n), controlNet: new Array(n) }),
        ])();
        return () => parseTasks(tasksWith(fields));
      },
    },
    {
      what: 'models that are registered, and names that are not',
      from: 200,
      make: (n, random) => {
        const source = { kind: 'url', url: 'https://example.org/m.safetensors' } as const;
        const names = Array.from({ length: n }, (_, i) => `model-${i}`);
        const long = random.pick(['x', 'a:', 'civitai:', '1@', '/', '%', 'модель']).repeat(Math.ceil(2 * n));
        return async () => {
          const known = names.reduce<ModelRegistry>((all, name) => register(all, name, source, {}), bundledRegistry());
          await attempt(() => resolve(known, 'modle-1'));
          await attempt(() => resolve(known, long.slice(0, 4096)));
        };
      },
    },
    {
      what: 'parts of a model index',
      from: 10_000,
      make: (n) => {
        const parts = Object.fromEntries(Array.from({ length: n }, (_, i) => [`part${i}`, ['diffusers', 'X']]));
        return () => parseModelIndex({ _class_name: 'StableDiffusionPipeline', ...parts }, 'model_index.json');
      },
    },
  ];
}

function number(value: number, size: 4 | 8): Uint8Array {
  const out = new Uint8Array(size);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

/** Four times as much may take four times as long, and half of that again for a cache that no longer holds it; twice for a busy machine. */
const MOST_GROWTH = 12;
/** Below this a clock measures nothing but chance. */
const LEAST_MS = 250;

/** Computed: of a busy machine a process may get little. */
async function msOf(read: () => unknown): Promise<number> {
  const used = process.cpuUsage();
  await attempt(read);
  const { user, system } = process.cpuUsage(used);
  return (user + system) / 1000;
}

export function growthTarget(golden: Golden): Target {
  const all = growths(golden);
  return {
    kind: 'growth',
    limitMs: 30_000, // both sizes several times, and what makes them
    async run(random) {
      const { what, from, make } = random.pick(all);
      const seed = random.int(2 ** 31);
      const [small, large] = [make(from, randomFrom(seed)), make(4 * from, randomFrom(seed))]; // of one form
      await msOf(small); // compiled
      let [before, after] = [await msOf(small), await msOf(large)];
      // Who is slow by chance is not slow three times.
      for (let n = 0; n < 2 && after > LEAST_MS && after > MOST_GROWTH * before; n++) {
        before = Math.max(before, await msOf(small));
        after = Math.min(after, await msOf(large));
      }
      const slow = after > LEAST_MS && after > MOST_GROWTH * before;
      must(!slow, () => `${what}: ${from} take ${before.toFixed(1)} ms, ${4 * from} take ${after.toFixed(1)} ms`);
      return 'accepted';
    },
  };
}
