/**
 * `npm run mutate -- ROOM [--seed N] [--count N] [--also TEST…]`: which changes of a room's code do
 * its tests let live?
 *
 * Takes mutations of the files in src/ROOM with a seed, at most one a line, and applies one at a
 * time to a copy of the project. The tests that import the file or lie in the room's own folder run
 * against it, then those of --also. Prints the mutants that live; exit code 1: there are some.
 *
 * A mutant that changes nothing that can be seen is an equivalent one: the reader decides.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import ts from 'typescript';

const TIMEOUT_MS = 180_000;
const { SyntaxKind: Kind } = ts;

/** What stands for an operator. */
const operators = new Map([
  [Kind.PlusToken, '-'],
  [Kind.MinusToken, '+'],
  [Kind.AsteriskToken, '/'],
  [Kind.SlashToken, '*'],
  [Kind.LessThanToken, '<='],
  [Kind.LessThanEqualsToken, '<'],
  [Kind.GreaterThanToken, '>='],
  [Kind.GreaterThanEqualsToken, '>'],
  [Kind.EqualsEqualsEqualsToken, '!=='],
  [Kind.ExclamationEqualsEqualsToken, '==='],
  [Kind.AmpersandAmpersandToken, '||'],
  [Kind.BarBarToken, '&&'],
  [Kind.AmpersandToken, '|'],
  [Kind.BarToken, '&'],
  [Kind.PlusEqualsToken, '-='],
  [Kind.MinusEqualsToken, '+='],
]);

/** All mutations of a file's text: `{ start, end, to, line, what }`, in the order of the text. */
export function mutationsOf(text) {
  const source = ts.createSourceFile('room.ts', text, ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, to) => {
    const [start, end] = [node.getStart(source), node.getEnd()];
    const line = source.getLineAndCharacterOfPosition(start).line + 1;
    const from = text.slice(start, end).replace(/\s+/g, ' ');
    found.push({ start, end, to, line, what: `${from}  →  ${to === '' ? 'removed' : to}` });
  };
  const visit = (node) => {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isInterfaceDeclaration(node))
      return;
    mutate(node, add, (each) => text.slice(each.getStart(source), each.getEnd()));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found.sort((a, b) => a.start - b.start);
}

function mutate(node, add, textOf) {
  if (ts.isBinaryExpression(node)) {
    const to = operators.get(node.operatorToken.kind);
    if (to !== undefined) add(node.operatorToken, to);
  } else if (ts.isNumericLiteral(node)) {
    const value = Number(node.text);
    add(node, `${value === 0 ? 1 : value + 1}`);
  } else if (node.kind === Kind.TrueKeyword) add(node, 'false');
  else if (node.kind === Kind.FalseKeyword) add(node, 'true');
  else if (ts.isIfStatement(node) || ts.isWhileStatement(node))
    add(node.expression, `!(${textOf(node.expression)})`);
  else if (ts.isConditionalExpression(node)) add(node.condition, `!(${textOf(node.condition)})`);
  else if (ts.isExpressionStatement(node) && !isSuper(node)) add(node, ';');
  else if (ts.isContinueStatement(node)) add(node, ';');
}

const isSuper = ({ expression }) =>
  ts.isCallExpression(expression) && expression.expression.kind === Kind.SuperKeyword;

/** Numbers from 0 to 1 by a seed (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` mutations of these files, at most one a line. */
export function sample(files, read, seed, count) {
  const next = random(seed);
  const all = files.flatMap((file) => mutationsOf(read(file)).map((each) => ({ file, ...each })));
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  const lines = new Set();
  return all
    .filter(({ file, line }) => !lines.has(`${file}:${line}`) && lines.add(`${file}:${line}`))
    .slice(0, count);
}

function filesUnder(path, suffix) {
  if (!statSync(path).isDirectory()) return path.endsWith(suffix) ? [path] : [];
  return readdirSync(path).flatMap((name) => filesUnder(join(path, name), suffix));
}

/** Tests of whole runs, browsers and the built package: of them only the room's own count. */
const slow = /^test\/(cli|exec|page|report|ui|conformance\/live)\//;

/** The tests whose imports, or those of their helpers in test/, name the file. */
function importers(tests, file) {
  const target = resolve(file);
  const known = new Map();
  const names = (path) => {
    if (known.has(path)) return known.get(path);
    known.set(path, false);
    const imports = [...readFileSync(path, 'utf8').matchAll(/from '(\.[^']+)\.js'/g)]
      .map(([, name]) => resolve(dirname(path), `${name}.ts`))
      .filter((each) => existsSync(each));
    const inTests = (each) => relative('test', each).startsWith('..') === false;
    const found = imports.some((each) => each === target || (inTests(each) && names(each)));
    known.set(path, found);
    return found;
  };
  return tests.filter((test) => !slow.test(test) && names(resolve(test)));
}

/** Whether the tests notice: they fail, or do not end. */
function notice(folder, tests, timeout = TIMEOUT_MS) {
  if (tests.length === 0) return false;
  const vitest = join(folder, 'node_modules/vitest/vitest.mjs');
  const { status } = spawnSync(process.execPath, [vitest, 'run', '--bail', '1', ...tests], {
    cwd: folder,
    stdio: 'ignore',
    timeout,
    killSignal: 'SIGKILL',
  });
  return status !== 0;
}

function copyOfProject() {
  const folder = mkdtempSync(join(tmpdir(), 'mutate-'));
  const left = new Set(['node_modules', '.git', 'dist', 'coverage']);
  for (const name of readdirSync('.'))
    if (!left.has(name)) cpSync(name, join(folder, name), { recursive: true });
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  if (existsSync('dist')) symlinkSync(resolve('dist'), join(folder, 'dist'));
  return folder;
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: `${Date.now() % 1e6}` },
      count: { type: 'string', default: '64' },
      also: { type: 'string', multiple: true, default: [] },
    },
  });
  const room = positionals[0];
  const path = room === undefined ? '' : join('src', room);
  if (positionals.length !== 1 || !existsSync(path)) {
    console.error('mutate: name one folder or file under src/, for example ioas/iopf');
    process.exit(2);
  }
  const seed = Number(values.seed);
  const files = filesUnder(path, '.ts');
  const tests = filesUnder('test', '.test.ts');
  const own = tests.filter((test) => test.startsWith(`${join('test', room)}/`));
  const testsOf = (file) => [...new Set([...own, ...importers(tests, file)])];
  const mutants = sample(files, (file) => readFileSync(file, 'utf8'), seed, Number(values.count));
  console.log(`${mutants.length} mutants of src/${room}, --seed ${seed}`);
  const folder = copyOfProject();
  try {
    const tried = [...new Set(mutants.flatMap(({ file }) => testsOf(file)).concat(values.also))];
    if (notice(folder, tried, 10 * TIMEOUT_MS))
      throw new Error('the tests fail before anything is changed');
    // The canary: tests that do not notice a file that throws notice nothing.
    const { file } = mutants[0];
    const text = readFileSync(file, 'utf8');
    writeFileSync(join(folder, file), `throw new Error('canary');\n${text}`);
    if (!notice(folder, [...testsOf(file), ...values.also]))
      throw new Error(`no test notices that ${file} throws`);
    writeFileSync(join(folder, file), text);
    report(folder, mutants, testsOf, values.also);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function report(folder, mutants, testsOf, also) {
  let killed = 0;
  for (const { file, line, start, end, to, what } of mutants) {
    const text = readFileSync(file, 'utf8');
    writeFileSync(join(folder, file), text.slice(0, start) + to + text.slice(end));
    const dies = notice(folder, testsOf(file)) || notice(folder, also);
    writeFileSync(join(folder, file), text);
    if (dies) killed++;
    else console.log(`lives: ${file}:${line}  ${what}`);
  }
  const percent = ((100 * killed) / mutants.length).toFixed(0);
  console.log(`${killed} of ${mutants.length} die (${percent} %)`);
  if (killed < mutants.length) process.exitCode = 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
