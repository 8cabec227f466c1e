/**
 * Lint for what Biome does not look at: lines of more than 100 columns (comments, code that can be
 * wrapped, prose of Markdown), and citations of what a clone of this repository does not have:
 * design notes, and files that Markdown names and that have moved.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const WIDTH = 100;
const SHARED = ['..', 'shared'].join('/');
const DESIGN = new RegExp(['\\bdesign', '[\\w-]+\\.md'].join('/'));
const FILE = /(?<![\w/.-])(?:bench|docs|examples|models|scripts|src|test)\/[\w./-]+\.\w+/g;

/** Lines of a Markdown file that are prose: no table, code, heading, or line that is one link. */
function* prose(lines) {
  let code = false;
  for (const [index, line] of lines.entries()) {
    if (/^\s*(```|~~~)/.test(line)) code = !code;
    else if (!code && !/^\s*(\||#|!?\[[^\]]*\]\([^)]*\)$)/.test(line)) yield [index, line];
  }
}

/** Lines of a source file that can be wrapped: not those with a string or a regular expression. */
function* wrappable(lines) {
  for (const [index, line] of lines.entries())
    if (/^\s*(\/\/|\/?\*)/.test(line) || !/['"`]|^\s*\/[^/*]/.test(line)) yield [index, line];
}

/** What is wrong with a file, a line each; `exists` tells which files a clone has. */
export function complaints(name, text, exists = existsSync) {
  const lines = text.split('\n');
  const found = [];
  for (const [index, line] of name.endsWith('.md') ? prose(lines) : wrappable(lines))
    if ([...line].length > WIDTH)
      found.push(`${name}:${index + 1}: ${[...line].length} columns, at most ${WIDTH}`);
  for (const [index, line] of lines.entries())
    if (line.includes(SHARED) || DESIGN.test(line))
      found.push(`${name}:${index + 1}: cites what a clone does not have`);
  if (name.endsWith('.md'))
    for (const [index, line] of lines.entries())
      for (const [file] of line.matchAll(FILE))
        if (!exists(file)) found.push(`${name}:${index + 1}: there is no ${file}`);
  return found;
}

if (process.argv[1] === import.meta.filename) {
  const names = execFileSync(
    'git',
    ['ls-files', '-co', '--exclude-standard', '*.ts', '*.mjs', '*.cjs', '*.c', '*.md', '.ci/run'],
    { encoding: 'utf8' },
  );
  const found = names
    .split('\n')
    .filter((name) => name !== '' && !name.startsWith('test/vectors') && existsSync(name))
    .flatMap((name) => complaints(name, readFileSync(name, 'utf8')));
  for (const line of found) console.error(line);
  process.exitCode = found.length === 0 ? 0 : 1;
}
