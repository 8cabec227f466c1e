/** What two processes must have in common to give the same results: this very code. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFile } from '../../input/package-file.js';

const DIGITS = 12;
let known: string | null = null;

/** The version of iopf with a digest of its code. */
export function codeVersion(): string {
  known ??= `${versionOfPackage()}+${digestOfCode()}`;
  return known;
}

function versionOfPackage(): string {
  const about = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as {
    version: string;
  };
  return about.version;
}

function digestOfCode(): string {
  const folder = packageFile('dist/src');
  const digest = createHash('sha256');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((each) => each.endsWith('.js')).sort())
    digest.update(`${name}\0`).update(readFileSync(join(folder, name)));
  const models = readdirSync(packageFile('models'), { recursive: true, encoding: 'utf8' });
  for (const name of models.filter((each) => each.endsWith('.yaml')).sort())
    digest.update(`${name}\0`).update(readFileSync(packageFile(`models/${name}`)));
  return digest.digest('hex').slice(0, DIGITS);
}
