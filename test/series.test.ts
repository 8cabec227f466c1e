/** docs/series.md lists every row, and each stands in the name of a test. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

/** How many rows the series has, by section. */
const SECTIONS = [5, 4, 5, 2, 11, 3, 2, 1];
const wanted = SECTIONS.flatMap((rows, section) =>
  Array.from({ length: rows }, (_, row) => `R${section + 1}.${row + 1}`),
);

const lines = readFileSync('docs/series.md', 'utf8').split('\n');
const rows = new Map(
  lines.flatMap((line) => {
    const cells = /^\| (R\d+\.\d+) \| (.*) \| (.*) \|$/.exec(line);
    return cells === null ? [] : [[cells[1]!, { what: cells[2]!, where: cells[3]! }] as const];
  }),
);

/** Names of the tests and groups of tests of a source file, but for those that never run. */
function testNames(path: string, text: string): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && isTest(node.expression)) {
      if (/\.(skip|todo)\b/.test(node.expression.getText())) return;
      const [name] = node.arguments;
      if (name !== undefined && (ts.isStringLiteralLike(name) || ts.isTemplateExpression(name)))
        names.push(name.getText());
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
  return names;
}

/** `test`, `describe.each(…)`, `it.skipIf(…).for(…)`. */
function isTest(callee: ts.Expression): boolean {
  if (ts.isIdentifier(callee)) return ['it', 'test', 'describe'].includes(callee.text);
  return (
    (ts.isPropertyAccessExpression(callee) || ts.isCallExpression(callee)) &&
    isTest(callee.expression)
  );
}

const rowsIn = (names: readonly string[]): string[] =>
  names.flatMap((name) => name.match(/\bR\d+\.\d+(?!\d)/g) ?? []);

/** Rows that the name of a test has. */
const named = new Set(
  readdirSync('test', { recursive: true, encoding: 'utf8' })
    .map((file) => join('test', file))
    .filter((path) => path.endsWith('.test.ts') && path !== 'test/series.test.ts')
    .flatMap((path) => rowsIn(testNames(path, readFileSync(path, 'utf8')))),
);

describe('the rows of docs/series.md', () => {
  test('are all there, in their order', () => {
    expect([...rows.keys()]).toEqual(wanted);
  });

  test.each([...rows])(
    '%s stands in the name of a test, or says that there is nothing to run',
    (row, { what }) => {
      expect(named.has(row) || what.includes('By structure; nothing to run.')).toBe(true);
    },
  );

  test.each([...rows])('%s is where it says', (_, { where }) => {
    const paths = [...where.matchAll(/`([^`]+)`/g)].map(([, path]) => path!);
    expect(paths).not.toEqual([]);
    let folder = '';
    for (const path of paths) {
      if (path.includes('/')) folder = dirname(path);
      expect(existsSync(path.includes('/') ? path : join(folder, path)), path).toBe(true);
    }
  });

  test('and tests name no other', () => {
    expect([...named].filter((row) => !rows.has(row))).toEqual([]);
  });

  test('and a row in a comment, a string or a test that never runs is none', () => {
    const text = `
      // R1.1
      const row = 'R1.2';
      test.skip('R1.3: is left out', () => {});
      describe.skip('R1.4', () => test('R1.5', () => expect('R2.1')));
      test.todo('R2.2');
      test(row, () => tested('R2.3'));
      describe('R3.1: a group', () => {
        test.each([['R3.2']])('%s, R3.3', () => {});
        it.skipIf(false).for([1])(\`R3.4 \${row}\`, () => {});
      });`;
    expect(rowsIn(testNames('canary.ts', text))).toEqual(['R3.1', 'R3.3', 'R3.4']);
  });
});
