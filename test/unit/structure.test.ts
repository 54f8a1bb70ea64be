/** @file The structure of the code: the order of the folders, who imports what, cycles, sizes, openings; each rule also on code that breaks it. */
import { describe, expect, it } from 'vitest';
import { projectFiles, readProjectFile } from './project-files.js';
import {
  brokenOrder,
  brokenPackages,
  importsOf,
  longFiles,
  looseCode,
  resolveImport,
  strayFiles,
  valueCycles,
  valueExports,
  withoutOpening,
  type Files,
} from './structure-rules.js';

const code = projectFiles(/^(src|workers|demo)\/.*\.ts$/);
const sources = projectFiles(/^src\/.*\.ts$/);
const everything = projectFiles(/^(src|workers|demo|bench|scripts|test)\/.*\.(ts|mjs)$|^[^/]+\.ts$/);

/** Tables of data, which may be longer than code. */
const LONG_TABLES: readonly string[] = [];

const files = (entries: Readonly<Record<string, string>>): Files => new Map(Object.entries(entries));

describe('the project', () => {
  it('is found', () => {
    expect(sources.size).toBeGreaterThan(20);
    expect(everything.has('test/unit/structure.test.ts')).toBe(true);
  });

  it('has no source outside the folders of the design', () => expect(strayFiles(code)).toEqual([]));
  it('imports only from folders above', () => expect(brokenOrder(code)).toEqual([]));
  it('imports each package in one place', () => expect(brokenPackages(code)).toEqual([]));
  it('has no import cycles', () => expect(valueCycles(code)).toEqual([]));
  it('has no source file over 400 lines', () => expect(longFiles(sources, 400, LONG_TABLES)).toEqual([]));
  it('opens every file with a sentence about it', () => expect(withoutOpening(everything)).toEqual([]));
  it('switches no check off and shares no variable', () => expect(looseCode(code)).toEqual([]));
  it('exports at most 12 values', () => {
    const names = valueExports(readProjectFile('src/index.ts'));
    expect(names.length, names.join(', ')).toBeLessThanOrEqual(12);
    expect(names.length).toBeGreaterThan(0);
  });
});

describe('importsOf', () => {
  it('tells values from types', () => {
    const text = `
      import a, { b } from './a.js';
      import type { C } from './c.js';
      import { type D } from './d.js';
      import './e.css';
      export { f } from './f.js';
      export type { G } from './g.js';
      export * from './h.js';
      type I = import('./i.js').I;
      const j = await import('./j.js');
      const k = "import './k.js'"; // import './l.js'`;
    expect(importsOf(text).map(({ specifier, byValue }) => `${byValue ? 'value' : 'type'} ${specifier}`)).toEqual([
      'value ./a.js',
      'type ./c.js',
      'value ./d.js',
      'value ./e.css',
      'value ./f.js',
      'type ./g.js',
      'value ./h.js',
      'type ./i.js',
      'value ./j.js',
    ]);
  });

  it('resolves from the importing file', () => {
    expect(resolveImport('src/onnx/dialects/wasm.ts', '../net.js')).toBe('src/onnx/net.ts');
    expect(resolveImport('workers/pipeline.worker.ts', '../src/base/errors.js')).toBe('src/base/errors.ts');
    expect(resolveImport('src/client/a.ts', 'comlink')).toBeUndefined();
  });
});

describe('the rules see what breaks them', () => {
  it.each([
    ['src/base/a.ts', `import { b } from '../onnx/b.js';`],
    ['src/base/a.ts', `import type { B } from '../onnx/b.js';`],
    ['src/text/a.ts', `const b = await import('../pipeline/b.js');`],
    ['src/client/a.ts', `import { b } from '../request/b.js';`],
    ['src/client/a.ts', `export { b } from '../request/b.js';`],
    ['src/pipeline/a.ts', `import { b } from '../client/wire.js';`],
    ['src/runtime/a.ts', `import type { B } from '../client/wire.js';`],
    ['src/image/a.ts', `import { b } from '../index.js';`],
    ['src/image/a.ts', `import { b } from '../elsewhere/b.js';`],
    ['src/image/a.ts', `import { b } from '../../test/b.js';`],
    ['demo/main.ts', `import { b } from '../src/client/b.js';`],
    ['demo/main.ts', `import type { B } from '../src/request/b.js';`],
    ['workers/a.ts', `import { b } from '../demo/b.js';`],
  ])('order: %s with %s', (path, text) => expect(brokenOrder(files({ [path]: text }))).toHaveLength(1));

  it.each([
    ['src/onnx/a.ts', `import { b } from '../base/b.js'; import { c } from './c.js';`],
    ['src/client/a.ts', `import type { B } from '../request/b.js'; import { c } from '../base/c.js';`],
    ['src/pipeline/a.ts', `import type { B } from '../client/wire.js';`],
    ['src/index.ts', `export { b } from './client/b.js'; export type { C } from './request/c.js';`],
    ['workers/a.ts', `import { b } from '../src/pipeline/b.js';`],
    ['demo/main.ts', `import { b } from '../src/index.js'; import { c } from './c.js';`],
  ])('order allows %s with %s', (path, text) => expect(brokenOrder(files({ [path]: text }))).toEqual([]));

  it.each([
    ['src/onnx/a.ts', 'onnxruntime-web/jspi'],
    ['workers/a.ts', 'onnxruntime-web'],
    ['demo/main.ts', 'comlink'],
    ['src/pipeline/a.ts', 'comlink'],
    ['src/assets/a.ts', 'node:fs'],
    ['src/image/a.ts', 'sharp'],
    ['src/request/a.ts', '@huggingface/tokenizers'],
  ])('packages: %s with %s', (path, name) => {
    expect(brokenPackages(files({ [path]: `import x from '${name}';` }))).toHaveLength(1);
  });

  it('packages: allows each where it belongs', () => {
    const allowed = files({
      'src/runtime/a.ts': `const ort = await import('onnxruntime-web/jspi'); import type { T } from 'onnxruntime-common';`,
      'src/client/a.ts': `import { wrap } from 'comlink';`,
      'workers/a.ts': `import { expose } from 'comlink';`,
      'src/text/a.ts': `import { Tokenizer } from '@huggingface/tokenizers';`,
    });
    expect(brokenPackages(allowed)).toEqual([]);
  });

  it('cycles by value only', () => {
    const ring = (third: string): Files =>
      files({
        'src/base/a.ts': `import { b } from './b.js';`,
        'src/base/b.ts': `export { c } from './c.js';`,
        'src/base/c.ts': third,
      });
    expect(valueCycles(ring(`import { a } from './a.js';`))).toEqual([
      'src/base/a.ts → src/base/b.ts → src/base/c.ts → src/base/a.ts',
    ]);
    expect(valueCycles(ring(`import { c } from './c.js';`))).toEqual(['src/base/c.ts → src/base/c.ts']);
    expect(valueCycles(ring(`import type { A } from './a.js';`))).toEqual([]);
  });

  it('lengths, with exemptions that must be needed', () => {
    const tree = files({ 'a.ts': 'x\n'.repeat(401), 'b.ts': 'x\n'.repeat(400) });
    expect(longFiles(tree, 400, [])).toEqual(['a.ts has 401 lines']);
    expect(longFiles(tree, 400, ['a.ts', 'b.ts'])).toEqual(['b.ts needs no exemption']);
  });

  it('openings', () => {
    const tree = files({
      'a.ts': '/** @file A sentence. */\n',
      'b.ts': '/**\n * @file A longer one.\n */',
      'c.ts': "import './a.js';\n/** @file Too late. */",
      'd.ts': '/** @file */',
      'e.ts': '// @file Not a doc comment.',
    });
    expect(withoutOpening(tree)).toEqual(['c.ts', 'd.ts', 'e.ts']);
  });

  it('stray files', () => {
    const tree = files({ 'src/index.ts': '', 'src/loose.ts': '', 'src/misc/a.ts': '', 'src/base/deep/a.ts': '' });
    expect(strayFiles(tree)).toEqual(['src/loose.ts', 'src/misc/a.ts']);
  });

  it('loose code', () => {
    const loose = (text: string): readonly string[] => looseCode(files({ 'src/base/a.ts': text }));
    expect(loose('const a = 1;\nfunction f(x: any) { let y = x; }')).toEqual(['src/base/a.ts:2 any']);
    expect(loose('let count = 0;')).toEqual(['src/base/a.ts:1 variable of the module']);
    expect(loose('export let count = 0;')).toHaveLength(1);
    expect(looseCode(files({ 'workers/a.ts': 'let count = 0;' }))).toEqual([]);
    expect(loose('const a = "any"; // any\n')).toEqual([]);
    expect(loose(`// @${'ts-expect-error'}\nconst a = 1;`)).toHaveLength(1);
    expect(loose(`/* eslint-${'disable'} */`)).toHaveLength(1);
  });

  it('exports', () => {
    const text = `
      export { a, type B, c as d } from './a.js';
      export type { E } from './e.js';
      export interface F {}
      export type G = F;
      export const h = 1;
      export function i() {}
      export class J {}
      const k = 1;`;
    expect(valueExports(text)).toEqual(['a', 'd', 'h', 'i', 'J']);
    expect(() => valueExports(`export * from './a.js';`)).toThrow('export *');
  });
});
