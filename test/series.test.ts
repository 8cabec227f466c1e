/** docs/series.md lists every row, and each is shown by a test or a scenario. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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

function textBelow(folder: string): string {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.ts') && join(folder, file) !== 'test/series.test.ts')
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .join('\n');
}

/** Rows by what names them. */
const named = new Set(
  `${textBelow('test')}${textBelow('src/check/scenarios')}`.match(/\bR\d+\.\d+(?!\d)/g),
);

describe('the rows of docs/series.md', () => {
  test('are all there, in their order', () => {
    expect([...rows.keys()]).toEqual(wanted);
  });

  test.each([...rows])(
    '%s is shown by a test, or says that there is nothing to run',
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
});
