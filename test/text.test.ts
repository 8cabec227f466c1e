import { describe, expect, test } from 'vitest';

type Complaints = (name: string, text: string, exists?: (path: string) => boolean) => string[];
const script = new URL('../scripts/check-text.mjs', import.meta.url).href;
const { complaints } = (await import(script)) as { complaints: Complaints };

const LONG = 'word '.repeat(21).trim();

/** The lines complained of. */
function linesOf(name: string, text: string): number[] {
  return complaints(name, text).map((complaint) => Number(complaint.split(':')[1]));
}

describe('the lint of texts (scripts/check-text.mjs)', () => {
  test('finds a line that is too long, by columns and not by bytes', () => {
    expect(complaints('a.md', `short\n${LONG}\n`)).toEqual(['a.md:2: 104 columns, at most 100']);
    expect(complaints('a.md', 'é'.repeat(100))).toEqual([]);
    expect(linesOf('a.ts', `const a = 1;\n// ${LONG}\n/** ${LONG} */\n * ${LONG}`)).toEqual([
      2, 3, 4,
    ]);
    expect(linesOf('a.c', `int a = ${LONG};`)).toEqual([1]);
    expect(linesOf('.ci/run', `apt-get install ${LONG}`)).toEqual([1]);
  });

  test('looks at comments that quote something, too', () => {
    expect(linesOf('a.ts', `// "quoted" ${LONG}`)).toEqual([1]);
  });

  test('leaves what cannot be wrapped: tables, code, headings and links; strings and regular expressions', () => {
    const prose = [`| ${LONG} |`, '```', LONG, '```', `# ${LONG}`, `![${LONG}](a.png)`].join('\n');
    expect(complaints('a.md', prose)).toEqual([]);
    expect(complaints('a.md', `${prose}\n${LONG}`)).toHaveLength(1);
    expect(complaints('a.ts', `  '${LONG}',\n  /^${LONG}$/,\n  \`${LONG}\``)).toEqual([]);
  });

  test('finds what a clone does not have', () => {
    const design = ['design', 'exec.md'].join('/');
    const shared = ['..', 'shared', 'notes'].join('/');
    expect(linesOf('a.ts', `// docs/exec.md\n// ${design}\n// ${shared}`)).toEqual([2, 3]);
    expect(linesOf('a.md', `\`${shared}\``)).toEqual([1]);
    const has = (path: string) => path === 'src/abi/pci.ts';
    const text =
      'in `src/abi/pci.ts`, `iopf/dist/src/abi/pci.js`, `examples/*.yaml`\nsee `src/gone.ts`';
    expect(complaints('a.md', text, has)).toEqual(['a.md:2: there is no src/gone.ts']);
  });
});

test('the catalogue of errors (scripts/errors.mjs) has every message, with what is put in', async () => {
  const errors = new URL('../scripts/errors.mjs', import.meta.url).href;
  const { messagesOf } = (await import(errors)) as {
    messagesOf: (name: string, text: string) => string[];
  };
  const source = `
    throw new UserError(\`cannot open \${this.path}: \${code}\` + hint);
    throw new UserError(isOld ? 'an old file' : \`\${name} is damaged\`);
    throw new UserError(error.message);
    throw new Bug('not for users');`;
  expect(messagesOf('a.ts', source)).toEqual([
    'cannot open <path>: <code><hint>',
    'an old file',
    '<name> is damaged',
  ]);
});
