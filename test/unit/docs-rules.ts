/** @file Reading Markdown pages for docs.test.ts: links, commands, tables, examples, and the compiler that judges the examples. */
import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from './project-files.js';

/** A fenced block; `line` is that of its first line in the page, from 1. */
export interface CodeBlock {
  readonly code: string;
  readonly line: number;
}

/** The fenced blocks of one language. */
export function codeBlocks(text: string, language: string): readonly CodeBlock[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter(([, found]) => found === language)
    .map(({ 2: code = '', index }) => ({ code, line: text.slice(0, index).split('\n').length + 1 }));
}

const withoutCode = (text: string): string => text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, '');

/** Links and pictures that stay within the project. */
export function linksOf(text: string): readonly { readonly file: string; readonly anchor?: string }[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = '', anchor] = target.split('#');
      return { file: decodeURIComponent(file), ...(anchor === undefined ? {} : { anchor }) };
    });
}

/** What headings are called in links: lower case, without punctuation, spaces as hyphens. */
export function anchorsOf(text: string): readonly string[] {
  return [...text.replace(/^```.*?^```$/gms, '').matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** One use of npm: the script, and the options behind `--`. */
export interface Command {
  readonly script: string;
  readonly flags: readonly string[];
}

/** Every `npm start`, `npm test` and `npm run …`, in blocks and in the text. Options in capitals stand for others. */
export function commandsOf(text: string): readonly Command[] {
  return [...text.matchAll(/\bnpm (?:run (?:-s )?([\w:]+)|(start|test)\b)([^\n`]*)/g)].map(
    ([, script, short, rest = '']) => ({
      script: script ?? short ?? '',
      flags: [...rest.matchAll(/ --([A-Za-z]\w*)/g)].map(([, flag = '']) => flag),
    }),
  );
}

/** The cells of the rows of the first table below a heading. */
export function rowsAfter(text: string, heading: string): readonly (readonly string[])[] {
  const [, after = ''] = `\n${text}`.split(`\n${heading}\n`);
  const section = after.split(/^#/m)[0] ?? '';
  const table = section.split('\n').filter((line) => line.startsWith('|'));
  return table.slice(2).map((line) =>
    line
      .slice(1, line.lastIndexOf('|'))
      .split('|')
      .map((cell) => cell.trim()),
  );
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'],
  types: ['@webgpu/types', 'vite/client'],
  paths: {
    darkroom: [join(ROOT, 'src/index.ts')],
    'darkroom/runware': [join(ROOT, 'src/client/runware.ts')],
  },
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  noEmit: true,
};

/**
 * What the compiler says about the examples of each page, as `page:line: message`. The examples of one page go on from the first,
 * whose names they see; each has its own scope. `darkroom` and `darkroom/runware` are the library.
 */
export function typeErrors(examples: ReadonlyMap<string, readonly CodeBlock[]>): readonly string[] {
  const modules = new Map<
    string,
    { readonly page: string; readonly text: string; readonly lines: readonly number[] }
  >();
  for (const [page, blocks] of examples) {
    if (blocks.length > 0)
      modules.set(join(ROOT, `example-of-${page.replaceAll(/\W/g, '-')}.ts`), { page, ...toModule(blocks) });
  }
  const host = ts.createCompilerHost(OPTIONS);
  const getSourceFile = host.getSourceFile.bind(host);
  const fileExists = host.fileExists.bind(host);
  host.fileExists = (path) => modules.has(path) || fileExists(path);
  host.getSourceFile = (path, ...rest) => {
    const own = modules.get(path);
    return own === undefined
      ? getSourceFile(path, ...rest)
      : ts.createSourceFile(path, own.text, ts.ScriptTarget.ES2022);
  };
  const program = ts.createProgram([...modules.keys()], OPTIONS, host);
  return [...modules].flatMap(([path, { page, lines }]) => {
    const file = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map((problem) => {
      const { line } = ts.getLineAndCharacterOfPosition(file ?? problem.file ?? fallback, problem.start ?? 0);
      return `${page}:${lines[line] ?? 0}: ${ts.flattenDiagnosticMessageText(problem.messageText, ' ')}`;
    });
  });
}

const fallback = ts.createSourceFile('none.ts', '', ts.ScriptTarget.ES2022);

/** One module of a page's examples; `lines` says which line of the page each of its lines is. */
function toModule(blocks: readonly CodeBlock[]): { readonly text: string; readonly lines: readonly number[] } {
  const out: (readonly [text: string, line: number])[] = [];
  const numbered = blocks.map(({ code, line }) => code.split('\n').map((text, i) => [text, line + i] as const));
  const isImport = ([text]: readonly [string, number]): boolean => text.startsWith('import ');
  for (const block of numbered) out.push(...block.filter(isImport));
  out.push(['export {};', 0]);
  numbered.forEach((block, i) => {
    const body = block.filter((line) => !isImport(line));
    out.push(...(i === 0 ? body : [['{', 0] as const, ...body, ['}', 0] as const]));
  });
  return { text: out.map(([text]) => text).join('\n'), lines: out.map(([, line]) => line) };
}

/** The members of a union of string literals, template literals spelled out. */
export function unionOf(path: string, name: string): readonly string[] {
  const program = ts.createProgram([join(ROOT, path)], OPTIONS);
  const file = program.getSourceFile(join(ROOT, path));
  const alias = file?.statements.filter(ts.isTypeAliasDeclaration).find((statement) => statement.name.text === name);
  const type = alias && program.getTypeChecker().getTypeAtLocation(alias.name);
  return type?.isUnion() === true
    ? type.types.flatMap((member) => (member.isStringLiteral() ? [member.value] : []))
    : [];
}
