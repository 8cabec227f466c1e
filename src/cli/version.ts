import { readFileSync } from 'node:fs';
import { packageFile } from '../input/package-file.js';

/** The version of this package. */
export function version(): string {
  const about = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as {
    version: string;
  };
  return about.version;
}
