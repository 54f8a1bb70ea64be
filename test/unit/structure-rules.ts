/** @file The rules of the code's structure as pure functions from source files to broken rules; structure.test.ts runs them. */
import ts from 'typescript';

/** Path from the project's root, with `/` → the file's text. */
export type Files = ReadonlyMap<string, string>;

/** One reference from a file to a module. */
export interface Import {
  readonly specifier: string;
  /** Whether it is still there when the types are gone. */
  readonly byValue: boolean;
}

/** The folders of src/ in order of processing: each imports only from those before it. */
const FOLDERS = [
  'base',
  'request',
  'models',
  'assets',
  'text',
  'onnx',
  'graphs',
  'runtime',
  'sampling',
  'image',
  'pipeline',
  'client',
];

/** The types that cross the worker boundary: `pipeline/` speaks them, although `client/` comes later. */
const WIRE_TYPES = 'src/client/wire.ts';

/** Package → who may import it. */
const PACKAGES: readonly { readonly name: RegExp; readonly from: RegExp }[] = [
  { name: /^onnxruntime-/, from: /^src\/runtime\// },
  { name: /^comlink$/, from: /^(src\/client|workers)\// },
  { name: /^@huggingface\/tokenizers$/, from: /^src\/text\// },
];

/** Every module that a file refers to. `import { type A }` counts as by value: it leaves `import {}` behind. */
export function importsOf(text: string): readonly Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, byValue: boolean): void => {
    if (specifier !== undefined && ts.isStringLiteralLike(specifier))
      found.push({ specifier: specifier.text, byValue });
  };
  walk(parse(text), (node) => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword);
    } else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, !node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, false);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], true);
    }
  });
  return found;
}

/** `../base/errors.js` seen from `src/onnx/net.ts` → `src/base/errors.ts`; undefined for a package. */
export function resolveImport(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/').replace(/\.js$/, '.ts');
}

/** Imports against the order of the folders. */
export function brokenOrder(files: Files): readonly string[] {
  return eachImport(files, (path, { specifier, byValue }) => {
    const target = resolveImport(path, specifier);
    if (target === undefined || maySee(path, target, byValue)) return undefined;
    return `${path} imports ${byValue ? '' : 'types of '}${target}`;
  });
}

function maySee(path: string, target: string, byValue: boolean): boolean {
  if (path.startsWith('demo/')) return target.startsWith('demo/') || target === 'src/index.ts';
  if (path.startsWith('workers/')) return /^(workers|src)\//.test(target) && target !== 'src/index.ts';
  if (path === 'src/index.ts') return /^src\/[^/]+\//.test(target);
  if (!path.startsWith('src/')) return true;
  const [from, to] = [folderOf(path), folderOf(target)];
  if (from === undefined || to === undefined) return false;
  if (from === to) return true;
  if (from === 'client') return !byValue || to === 'base';
  return FOLDERS.indexOf(to) < FOLDERS.indexOf(from) || (from === 'pipeline' && target === WIRE_TYPES && !byValue);
}

/** The folder of src/ that holds a file; undefined for a file elsewhere or a folder that has no place in the order. */
function folderOf(path: string): string | undefined {
  const [top, folder, ...rest] = path.split('/');
  return top === 'src' && rest.length > 0 && FOLDERS.includes(folder ?? '') ? folder : undefined;
}

/** Files directly in src/, or in a folder without a place in the order. */
export function strayFiles(files: Files): readonly string[] {
  return [...files.keys()].filter(
    (path) => path.startsWith('src/') && path !== 'src/index.ts' && folderOf(path) === undefined,
  );
}

/** Packages imported from where they may not be, and anything of Node's in the library. */
export function brokenPackages(files: Files): readonly string[] {
  return eachImport(files, (path, { specifier }) => {
    if (!/^(src|workers|demo)\//.test(path) || specifier.startsWith('.')) return undefined;
    const rule = PACKAGES.find(({ name }) => name.test(packageOf(specifier)));
    if (path.startsWith('demo/') && rule === undefined) return undefined; // styles, virtual modules
    return rule?.from.test(path) === true ? undefined : `${path} imports ${specifier}`;
  });
}

/** `@scope/name/file.js` → `@scope/name`. */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Groups of files that need each other to be loaded first, one line per cycle. */
export function valueCycles(files: Files): readonly string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path].join(' → '));
    if (start >= 0 || done.has(path)) return;
    for (const { specifier, byValue } of importsOf(files.get(path) ?? '')) {
      const target = resolveImport(path, specifier);
      if (byValue && target !== undefined && files.has(target)) visit(target, [...trail, path]);
    }
    done.add(path);
  };
  for (const path of files.keys()) visit(path, []);
  return cycles;
}

/** Files longer than `limit` lines, except `exempt`; an exemption that is not needed is reported too. */
export function longFiles(files: Files, limit: number, exempt: readonly string[]): readonly string[] {
  const lines = (path: string): number => (files.get(path) ?? '').replace(/\n$/, '').split('\n').length;
  const long = [...files.keys()].filter((path) => lines(path) > limit);
  return [
    ...long.filter((path) => !exempt.includes(path)).map((path) => `${path} has ${lines(path)} lines`),
    ...exempt.filter((path) => !long.includes(path)).map((path) => `${path} needs no exemption`),
  ];
}

/** Files that do not open with a sentence about themselves. */
export function withoutOpening(files: Files): readonly string[] {
  return [...files].filter(([, text]) => !/^\/\*\*(\s*\*)?\s*@file\s+[\p{L}`]/u.test(text)).map(([path]) => path);
}

/** Places where the type system or the linter is switched off, and variables that a module of the library shares with everyone. */
export function looseCode(files: Files): readonly string[] {
  return [...files].flatMap(([path, text]) => {
    const source = parse(text);
    const found: string[] = [];
    walk(source, (node) => {
      const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
      if (node.kind === ts.SyntaxKind.AnyKeyword) found.push(`${path}:${line} any`);
      if (path.startsWith('src/') && node.parent === source && isVariable(node)) {
        found.push(`${path}:${line} variable of the module`);
      }
    });
    const switches = text.matchAll(/@ts-(ignore|expect-error|nocheck)|eslint-disable/g);
    return [...found, ...[...switches].map(([what]) => `${path} ${what}`)];
  });
}

function isVariable(node: ts.Node): boolean {
  return ts.isVariableStatement(node) && (node.declarationList.flags & ts.NodeFlags.Const) === 0;
}

/** Names that exist at run time and leave through a file; `export *` cannot be counted and is refused. */
export function valueExports(text: string): readonly string[] {
  return parse(text).statements.flatMap((statement) => {
    if (ts.isExportAssignment(statement)) return ['default'];
    if (!ts.isExportDeclaration(statement)) return isExported(statement) ? declaredNames(statement) : [];
    if (statement.isTypeOnly) return [];
    if (statement.exportClause === undefined) throw new Error('export * hides what leaves');
    if (ts.isNamespaceExport(statement.exportClause)) return [statement.exportClause.name.text];
    return statement.exportClause.elements.filter(({ isTypeOnly }) => !isTypeOnly).map(({ name }) => name.text);
  });
}

function isExported(statement: ts.Statement): boolean {
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
  return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
}

function declaredNames(statement: ts.Statement): readonly string[] {
  if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) return [];
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement))
    return [statement.name?.text ?? 'default'];
  return ['?'];
}

function eachImport(files: Files, rule: (path: string, found: Import) => string | undefined): readonly string[] {
  return [...files].flatMap(([path, text]) =>
    importsOf(text).flatMap((found) => {
      const broken = rule(path, found);
      return broken === undefined ? [] : [broken];
    }),
  );
}

function parse(text: string): ts.SourceFile {
  return ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest, true);
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}
