/** @file The words around the code: commands and links that exist, examples that compile, and tables that say what the code does. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PARAMETER_OPTIONS } from '../../scripts/lib/parameters.js';
import { SCHEDULER_NAMES } from '../../src/request/scheduler-names.js';
import { UNSUPPORTED } from '../../src/request/support.js';
import { parseTasks } from '../../src/request/tasks.js';
import { anchorsOf, codeBlocks, commandsOf, linksOf, rowsAfter, typeErrors, unionOf } from './docs-rules.js';
import { ROOT, projectFiles, readProjectFile } from './project-files.js';
import { rawTask } from './request/raw-task.js';

const pages = projectFiles(/^(?!test\/golden\/).*\.md$/);
const sources = projectFiles(/^(src|workers|demo|scripts|bench|test)\/.*\.(ts|mjs)$/);
const page = (path: string): string => pages.get(path) ?? '';
const each = [...pages.keys()];

it('has the pages that a newcomer needs', () => {
  const needed = ['README.md', 'CHANGELOG.md', 'docs/architecture.md', 'docs/limits.md', 'docs/errors.md'];
  expect(each).toEqual(expect.arrayContaining(needed));
});

describe('links', () => {
  it.each(each)('%s leads to what exists', (path) => {
    const broken = linksOf(page(path)).filter(({ file, anchor }) => {
      const target = file === '' ? path : join(dirname(path), file);
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && !anchorsOf(page(target)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('from the code lead to pages and sections that exist', () => {
    const found = [...sources].flatMap(([path, text]) =>
      [...text.matchAll(/\b(docs\/[\w./-]+\.md)(?: §(\d+))?/g)].map(([all, file = '', section]) => ({
        place: `${path}: ${all}`,
        there: section === undefined ? pages.has(file) : new RegExp(`^## ${section}\\. `, 'm').test(page(file)),
      })),
    );
    expect(found.length).toBeGreaterThan(0);
    expect(found.filter(({ there }) => !there)).toEqual([]);
  });
});

describe('commands', () => {
  const scripts = Object.keys((JSON.parse(readProjectFile('package.json')) as { scripts: object }).scripts);
  /** Options of a command's `parseArgs`: `out: { type: …`. */
  const optionsOf = (file: string): readonly string[] =>
    [...readProjectFile(file).matchAll(/^\s+(\w+): \{ type: /gm)].map(([, name = '']) => name);
  const options: Readonly<Record<string, readonly string[]>> = {
    generate: [...optionsOf('scripts/generate.ts'), ...PARAMETER_OPTIONS.map(({ flag }) => flag)],
    goldens: optionsOf('scripts/goldens.ts'),
  };

  it.each(each)('%s names scripts and options that exist', (path) => {
    const wrong = commandsOf(page(path)).filter(
      ({ script, flags }) =>
        !scripts.includes(script) || flags.some((flag) => options[script]?.includes(flag) === false),
    );
    expect(wrong).toEqual([]);
  });

  it('the page about them shows every option of the command line', () => {
    const shown = page('docs/guide/command-line.md');
    expect(optionsOf('scripts/generate.ts').filter((name) => !shown.includes(`--${name}`))).toEqual([]);
  });
});

describe('examples', () => {
  it('in TypeScript compile against the public names', { timeout: 120_000 }, () => {
    const examples = new Map([...pages].map(([path, text]) => [path, codeBlocks(text, 'ts')]));
    expect([...examples.values()].flat().length).toBeGreaterThan(5);
    expect(typeErrors(examples)).toEqual([]);
  });

  it('that do not compile are seen', { timeout: 120_000 }, () => {
    const block = { code: `import { createDarkroom } from 'darkroom';\nawait createDarkroom().paint();`, line: 7 };
    expect(typeErrors(new Map([['page.md', [block]]]))).toEqual([
      expect.stringMatching(/^page\.md:8: Property 'paint'/) as string,
    ]);
  });

  it('in JSON are requests without a problem', () => {
    const blocks = [...pages.values()].flatMap((text) => codeBlocks(text, 'json'));
    expect(blocks.length).toBeGreaterThan(0);
    for (const { code } of blocks) expect(parseTasks([JSON.parse(code)]).errors, code).toEqual([]);
  });
});

describe('docs/limits.md', () => {
  it('lists exactly the parameters that are refused', () => {
    const listed = rowsAfter(page('docs/limits.md'), '## Parameters').flatMap(([names = '']) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    );
    expect([...listed].sort()).toEqual(Object.keys(UNSUPPORTED).sort());
  });
});

describe('facts', () => {
  const ort = (JSON.parse(readProjectFile('package.json')) as { dependencies: Record<string, string> }).dependencies[
    'onnxruntime-web'
  ];
  const exported = /EXPORT_DISPATCHES = (\d+)/.exec(readProjectFile('bench/model.ts'))?.[1];
  it.each([
    ['README.md', `all ${SCHEDULER_NAMES.length} names`],
    ['CHANGELOG.md', `All ${SCHEDULER_NAMES.length} scheduler names`],
    ['README.md', `takes ${exported}.`],
    ['docs/performance.md', `takes ${exported} dispatches`],
    ['docs/architecture.md', `onnxruntime-web ${ort}`],
  ])('%s says “%s”', (path, text) => expect(page(path).replaceAll(/\s+/g, ' ')).toContain(text));
});

describe('docs/errors.md', () => {
  const errors = page('docs/errors.md');
  const fixed = rowsAfter(errors, '## Codes');
  const ofParameters = rowsAfter(errors, '## Codes of parameters');
  const strip = (cell = ''): string => cell.replaceAll('`', '');

  it('lists every code once, and none that does not exist', { timeout: 60_000 }, () => {
    const listed = [
      ...fixed.map(([code]) => strip(code)),
      ...ofParameters.flatMap(([, ...codes]) => codes.slice(0, 2).map(strip)),
    ];
    expect(listed.sort()).toEqual([...unionOf('src/base/errors.ts', 'ErrorCode')].sort());
  });

  it('gives every code a meaning', () => {
    for (const [code, meaning = ''] of fixed) expect(meaning.length, code).toBeGreaterThan(10);
  });

  it.each(ofParameters.map(([path, invalid, , expected]) => [strip(path), strip(invalid), expected ?? ''] as const))(
    '%s: what %s expects',
    (path, code, expected) => {
      const reported = errorsOfBadValue(path).find((error) => error.code === code);
      expect(reported?.message.replace(/^.*, expected /s, '').replace(/\.$/, '') ?? 'anything').toBe(strip(expected));
    },
  );

  it('says which parameters can be missing', () => {
    const { errors: problems } = parseTasks([
      { ...without(), refiner: {}, controlNet: [{}], lora: [{}], embeddings: [{}], ipAdapters: [{}], maskImage: 'x' },
    ]);
    const { errors: untyped } = parseTasks([{}]);
    const others = ['imageUpload', 'controlNetPreprocess'].flatMap(
      (taskType) => parseTasks([{ ...without(), taskType }]).errors,
    );
    const missing = [...problems, ...untyped, ...others]
      .map(({ code }) => code)
      .filter((code) => code.startsWith('missing'));
    const [, sentence = ''] = /Only these are reported: ([^.]+)\./s.exec(errors) ?? [];
    expect([...new Set(missing)].sort()).toEqual(
      [...sentence.matchAll(/`(\w+)`/g)].map(([, code = '']) => code).sort(),
    );
  });
});

/** A task of nothing but its identity. */
function without(): Readonly<Record<string, unknown>> {
  const { taskType, taskUUID } = rawTask();
  return { taskType, taskUUID };
}

/** Sends a value that fits no rule: an object, or a number where an object is expected. */
function errorsOfBadValue(path: string): ReturnType<typeof parseTasks>['errors'] {
  const [name = '', child] = path.split('.');
  const lists = ['controlNet', 'lora', 'embeddings', 'ipAdapters'];
  return [{}, 1].flatMap((bad) => {
    const value = child === undefined ? bad : lists.includes(name) ? [{ [child]: bad }] : { [child]: bad };
    const tasks = ['imageInference', 'imageUpload', 'controlNetPreprocess'].map((taskType) => ({
      ...rawTask(),
      taskType,
      [name]: value,
    }));
    // The first that knows the parameter.
    return (
      tasks
        .map((task) => parseTasks([task]).errors.filter(({ parameter }) => parameter === path))
        .find((errors) => errors.length > 0) ?? []
    );
  });
}
