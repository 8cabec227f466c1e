/**
 * Writes docs/api.md: what the entry points of the package declare. `--check`: exit code 1 where
 * the file is not what would be written, so that a change of the public surface is seen (needs
 * dist/).
 * api-extractor would not do: it brings a compiler of its own, older than the one that builds.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';

const FILE = 'docs/api.md';
const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.entries(exports).filter(([, { types }]) => types !== undefined);

/** The statements of a file of declarations, each with its comment and without private members. */
function statements(text) {
  const found = [];
  let lines = [];
  for (const line of text.split('\n')) {
    lines.push(line);
    if (!/^(?!\/\*\*| \*).*[;}]$/.test(line) || /^[ \t]/.test(line)) continue;
    found.push(lines.join('\n').replaceAll(privateMember, ''));
    lines = [];
  }
  return found;
}

const privateMember =
  /^ {4}(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n {4})?private [^\n]*(\n {5,}[^\n]*)*\n/gm;
const declared =
  /^export (?:declare )?(?:abstract )?(?:class|const|function|interface|type) (\w+)/m;
const moved = /^(import|export) (?:type )?\{([^}]*)\} from '(\.[^']+)\.js';/m;

/**
 * The declarations that an entry is made of, as pairs of file and text: all of its own room, and
 * of others those which it exports again. `names` null: all.
 */
function* declarations(file, room, names, seen) {
  if (!existsSync(file)) return;
  const isOwn = file.startsWith(`${room}/`);
  for (const statement of statements(readFileSync(file, 'utf8'))) {
    const [, word, list, path] = moved.exec(statement) ?? [];
    if (path === undefined) {
      const name = declared.exec(statement)?.[1];
      if (!isOwn && (name === undefined || !names.includes(name))) continue;
      const key = `${file} ${statement}`;
      if (!seen.has(key)) yield [file, statement.trim()];
      seen.add(key);
      continue;
    }
    if (isOwn && word === 'export' && !seen.has(statement)) yield [file, statement.trim()];
    seen.add(statement);
    const next = resolve(dirname(file), `${path}.d.ts`);
    const wanted = list.split(',').map((name) => name.replace('type ', '').trim());
    if (next.startsWith(`${room}/`) || (isOwn && word === 'export')) {
      if (seen.has(`${next} ${wanted}`)) continue;
      seen.add(`${next} ${wanted}`);
      yield* declarations(next, room, wanted, seen);
    }
  }
}

/** The public surface of an entry: a heading for each file that it is declared in. */
function surface(types) {
  const file = resolve(types);
  const byFile = new Map();
  for (const [path, text] of declarations(file, dirname(file), null, new Set())) {
    if (!byFile.has(path)) byFile.set(path, []);
    byFile.get(path).push(text);
  }
  const texts = [...byFile].map(
    ([path, parts]) => `// ${relative('dist/src', path)}\n${parts.join('\n')}`,
  );
  return texts.join('\n\n');
}

const parts = entries.map(
  ([name, { types }]) => `## ${name.replace('.', 'iopf')}\n\n\`\`\`ts\n${surface(types)}\n\`\`\`\n`,
);
const text = `# The public surface

What the entry points of the package declare; all else is private. Written by
\`node scripts/api-report.mjs\`: a change of it is a change for users.

${parts.join('\n')}`;

if (process.argv[2] !== '--check') writeFileSync(FILE, text);
else if (!existsSync(FILE) || readFileSync(FILE, 'utf8') !== text) {
  console.error(`${FILE} is not what the entry points declare: node scripts/api-report.mjs`);
  process.exitCode = 1;
}
