/**
 * Builds unless dist/ is newer than all that it is made of: `npx iopf` in a clone runs npm's
 * `prepare`, and shall not build again.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The last thing that a build writes. */
const STAMP = 'dist/iopf.1';
const SOURCES = ['src', 'examples', 'bench', 'test', 'scripts', 'package.json'];

function newest(path) {
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function builtAt() {
  try {
    return statSync(STAMP).mtimeMs;
  } catch {
    return 0;
  }
}

if (builtAt() <= Math.max(...SOURCES.map(newest)))
  process.exitCode = spawnSync('npm', ['run', 'build'], { stdio: 'inherit' }).status ?? 1;
