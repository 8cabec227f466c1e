/**
 * Declarations of the package's entry points, and of what these name: the rest of what tsc writes
 * is nobody's (needs dist/).
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const { status } = spawnSync('node_modules/.bin/tsc', ['-p', 'tsconfig.types.json'], {
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const wanted = new Set();
const visit = (file) => {
  if (wanted.has(file)) return;
  wanted.add(file);
  for (const [, path] of readFileSync(file, 'utf8').matchAll(
    /(?:from |import\()['"](\.[^'"]+)\.js/g,
  ))
    visit(resolve(dirname(file), `${path}.d.ts`));
};
for (const { types } of Object.values(exports)) if (types !== undefined) visit(resolve(types));

for (const name of readdirSync('dist/src', { recursive: true })) {
  const file = resolve(join('dist/src', name));
  if (file.endsWith('.d.ts') && !wanted.has(file)) rmSync(file);
}
