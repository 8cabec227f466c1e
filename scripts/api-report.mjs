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

/** The declarations that an entry is made of: its own room's in full, of others the names. */
function* declarations(file, room, seen) {
  if (seen.has(file) || !existsSync(file)) return;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  yield [file, text];
  for (const [, path] of text.matchAll(/from '(\.[^']+)\.js'/g)) {
    const next = resolve(dirname(file), `${path}.d.ts`);
    if (next.startsWith(room)) yield* declarations(next, room, seen);
  }
}

const parts = entries.map(([name, { types }]) => {
  const file = resolve(types);
  const texts = [...declarations(file, dirname(file), new Set())].map(
    ([path, text]) => `// ${relative('dist/src', path)}\n${text.trim()}`,
  );
  return `## ${name.replace('.', 'iopf')}\n\n\`\`\`ts\n${texts.join('\n\n')}\n\`\`\`\n`;
});
const text = `# The public surface

What the entry points of the package declare; all else is private. Written by
\`node scripts/api-report.mjs\`: a change of it is a change for users.

${parts.join('\n')}`;

if (process.argv[2] !== '--check') writeFileSync(FILE, text);
else if (!existsSync(FILE) || readFileSync(FILE, 'utf8') !== text) {
  console.error(`${FILE} is not what the entry points declare: node scripts/api-report.mjs`);
  process.exitCode = 1;
}
